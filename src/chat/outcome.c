#include "outcome.h"

#include <string.h>

#include "answer.h"
#include "http_date.h"
#include "refusal.h"
#include "retry.h"

int ac_outcome_refusal(struct ac_call *call, int64_t wall_s)
{
  const struct ac_reply *reply = &call->reply;
  const char *bytes = reply->body.bytes ? reply->body.bytes : "";
  int encoded = reply->content_encoding[0] &&
                strcmp(reply->content_encoding, "identity") != 0;
  int64_t date_s = 0;

  if (reply->http_status != 200) {
    ac_refusal_read(reply->http_status, bytes,
                    encoded ? 0 : reply->body.length, &call->error);
    (void)ac_http_date_s(reply->date, &date_s);
    call->error.retry_after_ms =
        ac_retry_after_ms(reply->retry_after, date_s, wall_s);
    return 1;
  }
  if (encoded) {
    ac_error_set_code(&call->error, AC_ERR_BAD_RESPONSE, "encoding",
                      "the answer is compressed with '%s', which was not "
                      "asked for",
                      reply->content_encoding);
    call->error.http_status = 200;
  }
  return encoded;
}

/* The result object: arguments, what the decoder found, the whole answer. */
static ac_kind build(struct ac_call *call, cJSON *envelope /* takes */)
{
  const struct ac_endpoint *row = call->endpoint;
  cJSON *result = cJSON_CreateObject();
  ac_kind kind = AC_OK;
  int made = result != NULL;

  if (row) {
    const char *arguments[AC_MAX_ARGUMENTS] = {NULL};

    for (int i = 0; made && i < call->argument_count; i++) {
      char name[32];

      ac_endpoint_argument_name(row, i, name, sizeof name);
      arguments[i] = call->arguments[i];
      made = cJSON_AddStringToObject(result, name, arguments[i]) != NULL;
    }
    if (made)
      kind = row->decode(envelope, arguments, result, &call->error);
  } else if (made) {
    made = cJSON_AddNumberToObject(result, "http_status", 200) != NULL;
  }
  if (kind == AC_ERR_BAD_RESPONSE && strcmp(call->error.code, "shape") == 0)
    ac_refusal_note_words(envelope, &call->error);
  if (made && kind == AC_OK && call->envelope) {
    made = cJSON_AddItemToObject(result, "envelope", envelope);
    if (made)
      envelope = NULL;
  }
  cJSON_Delete(envelope);
  if (!made)
    kind = ac_error_set(&call->error, AC_ERR_MEMORY, "no memory for a result");
  if (kind != AC_OK)
    cJSON_Delete(result);
  else
    call->result = result;
  return kind;
}

void ac_outcome_result(struct ac_call *call)
{
  const char *bytes = call->reply.body.bytes;
  cJSON *envelope = NULL;

  if (ac_answer_parse(bytes ? bytes : "", call->reply.body.length, &envelope,
                      &call->error) == AC_OK)
    build(call, envelope);
  if (call->error.kind != AC_OK)
    call->error.http_status = 200;
}
