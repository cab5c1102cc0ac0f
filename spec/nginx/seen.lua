--- seen: a count that a worker of the upstream keeps.
return { count = 0 }
