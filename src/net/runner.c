#include "runner.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/forks.h"
#include "../base/list.h"
#include "engine.h"
#include "io_thread.h"

struct ac_runner {
  enum ac_runner_mode mode;
  unsigned forks;               /* of this process, when it was made */
  int closed;
  struct ac_io_thread *io;      /* threaded: all that follows is unused */

  struct ac_client *client;
  struct ac_engine *engine;     /* NULL: manual or closed */
  struct ac_clock clock;
  int64_t wall_told_ms;         /* when the brain was last told the wall clock */
  struct ac_list done;          /* finished calls, not taken */
  int ready;                    /* how many */
  int token_wanted;

  struct ac_call **lent;        /* manual: calls the spec has */
  size_t lent_count, lent_size;
};

/* -- life -- */

static struct ac_runner *new_inline(const struct ac_runner_config *config,
                                    struct ac_error *err)
{
  struct ac_runner *r = calloc(1, sizeof *r);
  struct ac_engine_config engine;

  if (!r || !ac_forks_watch()) {
    free(r);
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  ac_list_init(&r->done);
  r->mode = config->mode == AC_RUNNER_MANUAL ? AC_RUNNER_MANUAL : AC_RUNNER_INLINE;
  r->forks = ac_forks();
  r->clock = config->clock;
  r->wall_told_ms = -1;
  r->client = ac_client_new(&config->client, ac_clock_ms(&r->clock),
                            ac_clock_wall_s(&r->clock), err);
  if (r->client && r->mode == AC_RUNNER_INLINE) {
    memset(&engine, 0, sizeof engine);
    engine.origin = ac_client_origin(r->client);
    engine.max_connections = config->client.max_in_flight > 0
                                 ? config->client.max_in_flight : 32;
    engine.connect_timeout_ms = config->client.connect_timeout_ms > 0
                                    ? config->client.connect_timeout_ms : 3000;
    engine.attempt_timeout_ms = config->client.attempt_timeout_ms > 0
                                    ? config->client.attempt_timeout_ms : 5000;
    engine.ca_file = config->ca_file;
    engine.proxy = config->proxy;
    engine.user_agent = config->user_agent;
    r->engine = ac_engine_new(&engine, err);
  }
  if (r->client && (r->engine || r->mode == AC_RUNNER_MANUAL))
    return r;
  ac_client_free(r->client);
  free(r);
  return NULL;
}

struct ac_runner *ac_runner_new(const struct ac_runner_config *config,
                                struct ac_error *err)
{
  struct ac_runner *r, *inner;
  struct ac_runner_config for_thread;

  if (config->mode != AC_RUNNER_THREADED)
    return new_inline(config, err);
  for_thread = *config;
  for_thread.client.max_queue = INT_MAX; /* counted on the owner's side */
  inner = new_inline(&for_thread, err);
  if (!inner)
    return NULL;
  r = calloc(1, sizeof *r);
  if (!r) {
    ac_runner_free(inner);
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  ac_list_init(&r->done);
  r->mode = AC_RUNNER_THREADED;
  r->forks = inner->forks;
  r->io = ac_io_thread_new(inner, config, err);
  if (!r->io) {
    ac_runner_free(inner);
    free(r);
    return NULL;
  }
  return r;
}

int ac_runner_forked(const struct ac_runner *r)
{
  return ac_forks() != r->forks;
}

static int64_t now_ms(const struct ac_runner *r)
{
  return ac_clock_ms(&r->clock);
}

static void collect(struct ac_runner *r)
{
  struct ac_call *call;

  while ((call = ac_client_take_done(r->client))) {
    ac_list_init(&call->link);
    ac_list_push_back(&r->done, &call->link);
    r->ready++;
  }
}

static void take_back(struct ac_runner *r, const struct ac_call *call)
{
  for (size_t i = 0; i < r->lent_count; i++)
    if (r->lent[i] == call) {
      r->lent[i] = r->lent[--r->lent_count];
      return;
    }
}

static void drop(struct ac_runner *r, struct ac_call *call)
{
  if (r->engine) {
    ac_engine_drop(r->engine, call);
  } else {
    take_back(r, call);
    call->reply.phase = AC_PHASE_FIRST_BYTE;
    call->reply.sent = 1;
  }
}

void ac_runner_close(struct ac_runner *r)
{
  struct ac_call *call;

  if (r->closed)
    return;
  r->closed = 1;
  if (ac_runner_forked(r))
    return;
  if (r->io) {
    ac_io_thread_close(r->io);
    return;
  }
  while ((call = ac_client_close_next(r->client, now_ms(r))))
    drop(r, call);
  collect(r);
  ac_engine_free(r->engine);
  r->engine = NULL;
  ac_client_forget(r->client); /* not only when it is collected */
}

void ac_runner_free(struct ac_runner *r)
{
  struct ac_list *node;

  if (!r)
    return;
  if (ac_runner_forked(r)) {
    if (r->io)
      ac_io_thread_abandon(r->io);
    ac_engine_abandon(r->engine);
  } else {
    ac_runner_close(r);
    if (r->io)
      ac_io_thread_free(r->io);
  }
  while ((node = ac_list_take_front(&r->done)))
    ac_call_free(AC_LIST_ENTRY(node, struct ac_call, link));
  ac_client_free(r->client); /* wipes its secrets */
  free(r->lent);
  free(r);
}

/* -- asking -- */

static ac_kind closed_error(struct ac_error *err)
{
  return ac_error_set(err, AC_ERR_CLOSED, "the client is closed");
}

ac_kind ac_runner_submit(struct ac_runner *r, struct ac_call *call,
                         int64_t *out_id, struct ac_error *err)
{
  ac_kind kind;

  if (r->closed)
    return closed_error(err);
  if (r->io)
    return ac_io_thread_submit(r->io, call, out_id, err);
  kind = ac_client_submit(r->client, call, now_ms(r), out_id, err);
  if (kind == AC_OK)
    collect(r); /* it may have ended at once */
  return kind;
}

void ac_runner_cancel(struct ac_runner *r, int64_t id)
{
  struct ac_call *call;

  if (r->closed)
    return;
  if (r->io) {
    ac_io_thread_cancel(r->io, id);
    return;
  }
  call = ac_client_cancel(r->client, id, now_ms(r));
  if (call)
    drop(r, call);
  collect(r);
}

ac_kind ac_runner_set_token(struct ac_runner *r, struct ac_slice token,
                            int64_t ttl_s, struct ac_error *err)
{
  ac_kind kind;

  if (r->closed)
    return closed_error(err);
  if (r->io)
    return ac_io_thread_set_token(r->io, token, ttl_s, err);
  kind = ac_client_set_token(r->client, token, ttl_s, now_ms(r), err);
  if (kind == AC_OK)
    r->token_wanted = 0;
  collect(r);
  return kind;
}

/* The brain says it once; here it is kept until the owner asks. */
static int token_wanted(struct ac_runner *r, int64_t now)
{
  if (!r->token_wanted)
    r->token_wanted = ac_client_wants_token(r->client, now);
  return r->token_wanted;
}

int ac_runner_wants_token(struct ac_runner *r)
{
  int wanted;

  if (r->closed)
    return 0;
  if (r->io)
    return ac_io_thread_wants_token(r->io);
  wanted = token_wanted(r, now_ms(r));
  r->token_wanted = 0;
  return wanted;
}

void ac_runner_token_failed(struct ac_runner *r, const char *message)
{
  if (r->closed)
    return;
  if (r->io) {
    ac_io_thread_token_failed(r->io, message);
    return;
  }
  ac_client_token_failed(r->client, message, now_ms(r));
  collect(r);
}

/* -- working -- */

static void give_up_overdue(struct ac_runner *r, int64_t now)
{
  struct ac_call *call;

  while ((call = ac_client_next_overdue(r->client, now))) {
    drop(r, call);
    ac_client_give_up(r->client, call, now);
  }
}

static void tell_wall(struct ac_runner *r, int64_t now)
{
  if (r->wall_told_ms == now)
    return;
  r->wall_told_ms = now;
  ac_client_set_wall(r->client, now, ac_clock_wall_s(&r->clock));
}

/* One round between engine and brain, without I/O. */
static void exchange(struct ac_runner *r, int64_t now)
{
  struct ac_call *call;
  struct ac_error err;

  while ((call = ac_engine_next_ended(r->engine))) {
    ac_client_deliver(r->client, call, now);
    if (call->distrust)
      ac_engine_distrust(r->engine, call);
  }
  give_up_overdue(r, now);
  tell_wall(r, now);
  while ((call = ac_client_next_outgoing(r->client, now)))
    if (ac_engine_start(r->engine, call, &err) != AC_OK) {
      ac_call_clear_reply(call);
      call->error = err;
      ac_client_deliver(r->client, call, now);
    }
  collect(r);
}

static int outstanding(const struct ac_runner *r)
{
  return ac_client_pending(r->client) > 0;
}

static int worth_returning(struct ac_runner *r, int64_t now)
{
  return r->ready > 0 || token_wanted(r, now) || !outstanding(r);
}

static int poll_inline(struct ac_runner *r, int64_t wait_ms)
{
  int64_t now = now_ms(r);
  int64_t until = wait_ms > INT_MAX ? now + INT_MAX : now + wait_ms;
  int enough, interrupted;

  if (!outstanding(r))
    return r->ready;
  exchange(r, now);
  enough = worth_returning(r, now);
  do {
    int wait = enough ? 0 : (int)(until - now);
    int due = wait > 0 ? ac_client_due_in_ms(r->client, now) : -1;

    if (due >= 0 && due < wait)
      wait = due;
    interrupted = ac_engine_run(r->engine, wait);
    now = now_ms(r);
    exchange(r, now);
    enough = enough || worth_returning(r, now);
  } while (!enough && !interrupted && now < until);
  return r->ready;
}

int ac_runner_poll(struct ac_runner *r, int64_t wait_ms)
{
  if (r->io)
    return ac_io_thread_poll(r->io, r->closed ? 0 : wait_ms);
  if (r->closed)
    return r->ready;
  if (r->engine)
    return poll_inline(r, wait_ms);
  give_up_overdue(r, now_ms(r));
  collect(r);
  return r->ready;
}

void ac_runner_sleep(struct ac_runner *r)
{
  ac_engine_run(r->engine, -1);
}

void ac_runner_rouse(struct ac_runner *r)
{
  ac_engine_wake(r->engine);
}

/* -- what has come -- */

int ac_runner_ready(const struct ac_runner *r)
{
  return r->io ? ac_io_thread_ready(r->io) : r->ready;
}

struct ac_call *ac_runner_take_done(struct ac_runner *r)
{
  struct ac_list *node;

  if (r->io)
    return ac_io_thread_take_done(r->io);
  node = ac_list_take_front(&r->done);
  if (!node)
    return NULL;
  r->ready--;
  return AC_LIST_ENTRY(node, struct ac_call, link);
}

void ac_runner_return(struct ac_runner *r, struct ac_call *call)
{
  if (r->io)
    ac_io_thread_return(r->io, call);
  else
    ac_call_free(call);
}

int ac_runner_next_event(struct ac_runner *r, struct ac_event *out)
{
  return r->io ? ac_io_thread_next_event(r->io, out)
               : ac_client_next_event(r->client, out);
}

int ac_runner_fd(const struct ac_runner *r)
{
  if (r->io)
    return ac_io_thread_fd(r->io);
  return r->engine ? ac_engine_fd(r->engine) : -1;
}

int ac_runner_due_in_ms(const struct ac_runner *r)
{
  int due, engine_due;

  if (r->io)
    return ac_io_thread_due_in_ms(r->io);
  if (r->ready > 0 || r->token_wanted)
    return 0;
  if (r->closed || !outstanding(r))
    return -1;
  due = ac_client_due_in_ms(r->client, now_ms(r));
  engine_due = r->engine ? ac_engine_due_in_ms(r->engine) : -1;
  return engine_due >= 0 && (due < 0 || engine_due < due) ? engine_due : due;
}

int64_t ac_runner_pending(const struct ac_runner *r)
{
  return r->io ? ac_io_thread_pending(r->io)
               : ac_client_pending(r->client) + r->ready;
}

void ac_runner_stats(struct ac_runner *r, struct ac_stats *out)
{
  if (r->io)
    ac_io_thread_stats(r->io, out);
  else
    ac_client_stats(r->client, out);
}

void ac_runner_set_wake(struct ac_runner *r, const struct ac_wake *wake)
{
  if (r->io)
    ac_io_thread_set_wake(r->io, wake);
}

/* -- manual -- */

struct ac_call *ac_runner_next_outgoing(struct ac_runner *r)
{
  int64_t now = now_ms(r);
  struct ac_call *call;

  if (r->mode != AC_RUNNER_MANUAL || r->closed)
    return NULL;
  if (r->lent_count == r->lent_size) {
    size_t size = r->lent_size ? 2 * r->lent_size : 16;
    struct ac_call **grown = realloc(r->lent, size * sizeof *grown);

    if (!grown)
      return NULL;
    r->lent = grown;
    r->lent_size = size;
  }
  tell_wall(r, now);
  call = ac_client_next_outgoing(r->client, now);
  if (call)
    r->lent[r->lent_count++] = call;
  collect(r);
  return call;
}

struct ac_call *ac_runner_find_out(struct ac_runner *r, int64_t id)
{
  for (size_t i = 0; i < r->lent_count; i++)
    if (r->lent[i]->id == id)
      return r->lent[i];
  return NULL;
}

void ac_runner_deliver(struct ac_runner *r, struct ac_call *call)
{
  take_back(r, call);
  ac_client_deliver(r->client, call, now_ms(r));
  collect(r);
}

void ac_runner_set_now(struct ac_runner *r, int64_t now, int64_t wall_s)
{
  r->clock.frozen = 1;
  r->clock.frozen_ms = now;
  r->clock.frozen_wall_s = wall_s;
  r->wall_told_ms = -1;
  if (r->closed || r->mode != AC_RUNNER_MANUAL)
    return;
  give_up_overdue(r, now);
  collect(r);
}
