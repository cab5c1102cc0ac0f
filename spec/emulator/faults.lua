--- faults: rude answers, chosen by the user id "f.<ID>.<seed>".
local faults = {}
function faults.plan() return nil end
return faults
