#include "io_thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../base/buffer.h"
#include "../base/list.h"

enum {
  DEFAULT_QUEUE = 10000,
  MAX_EVENTS = 1000,
  MAX_USED = 128, /* results that wait to be freed */
  JOIN_S = 2 /* a thread that is stuck longer is left behind */
};

static const int64_t A_LONG_TIME_MS = INT_MAX;

struct inbox {
  struct ac_list calls;
  int64_t count;
  int64_t *cancelled; /* ids */
  size_t cancelled_count, cancelled_size;
  struct ac_buffer token; /* the newest; empty: none */
  int64_t ttl_s;
  int failed; /* no token, because: */
  char failure[AC_ERROR_TEXT_BYTES];
};

struct ac_io_thread {
  /* the owner's */
  int64_t last_id;
  int64_t pending; /* accepted, not taken */
  int started, closed;
  int left; /* close did not wait for the thread to end */
  int fd;    /* an eventfd, written to by the thread */
  int max_queue;
  pthread_t thread;

  /* the thread's, once it runs */
  struct ac_runner *inner;
  int64_t refused; /* calls that the inner runner would not take */

  pthread_mutex_t mutex; /* all that follows */
  pthread_cond_t finished_changed;
  struct inbox inbox;
  int64_t carried; /* out of the inbox, not in `stats` yet */
  struct ac_list done;
  cJSON *used; /* results that the owner has read, a chain: for the thread */
  int used_count;
  struct ac_stats stats; /* of the inner runner */
  struct ac_event *events; /* a ring of MAX_EVENTS */
  int first_event;
  int stop, finished;
  int orphan;      /* the owner is gone: the thread frees everything */
  int asleep;      /* the thread found nothing: wake it */
  int owner_waits; /* in poll: to be woken through fd in any case */
  struct ac_wake wake;

  /* read without the mutex: atomic */
  int ready;       /* length of done */
  int event_count;
  int token_wanted;
  int signalled;   /* the owner was woken and has not found nothing since */
};

static int load(const int *value)
{
  return __atomic_load_n(value, __ATOMIC_ACQUIRE);
}

static void store(int *value, int to)
{
  __atomic_store_n(value, to, __ATOMIC_RELEASE);
}

/* -- life -- */

static void inbox_init(struct inbox *in)
{
  memset(in, 0, sizeof *in);
  ac_list_init(&in->calls);
  ac_buffer_init(&in->token, AC_TOKEN_MAX_BYTES);
}

static void free_calls(struct ac_list *calls)
{
  struct ac_list *node;

  while ((node = ac_list_take_front(calls)))
    ac_call_free(AC_LIST_ENTRY(node, struct ac_call, link));
}

static void inbox_free(struct inbox *in)
{
  free_calls(&in->calls);
  free(in->cancelled);
  ac_buffer_wipe(&in->token);
}

static void free_all(struct ac_io_thread *io)
{
  if (io->fd >= 0)
    close(io->fd);
  ac_runner_free(io->inner);
  inbox_free(&io->inbox);
  free_calls(&io->done);
  cJSON_Delete(io->used); /* and those that are chained to it */
  free(io->events);
  pthread_cond_destroy(&io->finished_changed);
  pthread_mutex_destroy(&io->mutex);
  free(io);
}

static int init_locks(struct ac_io_thread *io)
{
  pthread_condattr_t attributes;
  int bad = pthread_mutex_init(&io->mutex, NULL);

  if (bad)
    return 0;
  bad = pthread_condattr_init(&attributes);
  if (!bad) {
    bad = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) ||
          pthread_cond_init(&io->finished_changed, &attributes);
    pthread_condattr_destroy(&attributes);
  }
  if (bad)
    pthread_mutex_destroy(&io->mutex);
  return !bad;
}

struct ac_io_thread *ac_io_thread_new(struct ac_runner *inner,
                                      const struct ac_runner_config *config,
                                      struct ac_error *err)
{
  struct ac_io_thread *io = calloc(1, sizeof *io);

  if (!io || !init_locks(io)) {
    free(io);
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  inbox_init(&io->inbox);
  ac_list_init(&io->done);
  io->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (config->client.want_events)
    io->events = malloc(MAX_EVENTS * sizeof *io->events);
  if (io->fd < 0 || (config->client.want_events && !io->events)) {
    if (io->fd < 0)
      ac_error_set_code(err, AC_ERR_NETWORK, "connect",
                        "cannot open a descriptor: errno %d", errno);
    else
      ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    ac_io_thread_free(io);
    return NULL;
  }
  io->max_queue = config->client.max_queue > 0 ? config->client.max_queue
                                               : DEFAULT_QUEUE;
  io->inner = inner;
  ac_runner_stats(inner, &io->stats);
  return io;
}

/* -- the thread -- */

/* With the mutex: the owner has something to look at. 1: `wake` is to be
   posted, without the mutex. */
static int tell_owner(struct ac_io_thread *io)
{
  uint64_t one = 1;

  if (io->signalled)
    return 0;
  store(&io->signalled, 1);
  if (io->wake.post && !io->owner_waits)
    return !io->stop;
  while (write(io->fd, &one, sizeof one) < 0 && errno == EINTR)
    continue;
  return 0;
}

static void add_events(struct ac_io_thread *io)
{
  struct ac_event event;
  int count = io->event_count;

  while (ac_runner_next_event(io->inner, &event)) {
    if (count == MAX_EVENTS) { /* nobody listens: the oldest goes */
      io->first_event = (io->first_event + 1) % MAX_EVENTS;
      count--;
    }
    io->events[(io->first_event + count++) % MAX_EVENTS] = event;
  }
  store(&io->event_count, count);
}

/* Everything that has ended goes out, everything that was asked comes in.
   1: it is time to stop. */
static int trade(struct ac_io_thread *io, struct ac_list *ended, struct inbox *in)
{
  struct ac_stats stats;
  cJSON *used;
  struct ac_call *call;
  struct ac_wake wake = {NULL, NULL, 0, 0};
  int wanted = ac_runner_wants_token(io->inner);
  int count = 0, stop;

  for (struct ac_list *node = ended->next; node != ended; node = node->next)
    count++;
  while ((call = ac_runner_take_done(io->inner))) {
    ac_list_push_back(ended, &call->link);
    count++;
  }
  ac_runner_stats(io->inner, &stats);
  stats.accepted += io->refused;
  stats.failed += io->refused;

  pthread_mutex_lock(&io->mutex);
  ac_list_move_all(&io->done, ended);
  used = io->used;
  io->used = NULL;
  io->used_count = 0;
  store(&io->ready, io->ready + count);
  io->stats = stats;
  io->carried = io->inbox.count;
  if (io->events)
    add_events(io);
  if (wanted)
    store(&io->token_wanted, 1);
  if ((count > 0 || wanted) && tell_owner(io))
    wake = io->wake;

  *in = io->inbox;
  ac_list_init(&in->calls);
  ac_list_move_all(&in->calls, &io->inbox.calls);
  inbox_init(&io->inbox);
  stop = io->stop;
  io->asleep = !stop && in->count == 0 && in->cancelled_count == 0 &&
               in->token.length == 0 && !in->failed;
  pthread_mutex_unlock(&io->mutex);
  if (wake.post)
    wake.post(&wake);
  cJSON_Delete(used);
  return stop;
}

static void obey(struct ac_io_thread *io, struct inbox *in, struct ac_list *ended)
{
  struct ac_list *node;
  struct ac_error err;
  int64_t id;

  while ((node = ac_list_take_front(&in->calls))) {
    struct ac_call *call = AC_LIST_ENTRY(node, struct ac_call, link);

    if (ac_runner_submit(io->inner, call, &id, &err) != AC_OK) {
      call->error = err; /* the owner has its id already: it ends like others */
      io->refused++;
      ac_list_push_back(ended, &call->link);
    }
  }
  for (size_t i = 0; i < in->cancelled_count; i++)
    ac_runner_cancel(io->inner, in->cancelled[i]);
  if (in->token.length > 0) {
    struct ac_slice token = {in->token.bytes, in->token.length};

    if (ac_runner_set_token(io->inner, token, in->ttl_s, &err) != AC_OK)
      ac_runner_token_failed(io->inner, err.text);
  }
  if (in->failed)
    ac_runner_token_failed(io->inner, in->failure);
  inbox_free(in);
}

static void *run(void *data)
{
  struct ac_io_thread *io = data;
  struct ac_list ended;
  struct inbox in;
  int stop, orphan;

  ac_list_init(&ended);
  do {
    int idle;

    stop = trade(io, &ended, &in);
    idle = in.count == 0 && in.cancelled_count == 0 && in.token.length == 0 &&
           !in.failed;
    obey(io, &in, &ended);
    if (stop)
      break;
    if (!idle || !ac_list_empty(&ended))
      ac_runner_poll(io->inner, 0);
    else if (ac_runner_pending(io->inner) > 0)
      ac_runner_poll(io->inner, A_LONG_TIME_MS);
    else
      ac_runner_sleep(io->inner);
  } while (!stop);

  ac_runner_close(io->inner); /* the transfers end where they ran */
  trade(io, &ended, &in);
  inbox_free(&in);
  pthread_mutex_lock(&io->mutex);
  io->finished = 1;
  orphan = io->orphan;
  pthread_cond_signal(&io->finished_changed);
  pthread_mutex_unlock(&io->mutex);
  if (orphan)
    free_all(io);
  return NULL;
}

/* Signals are the program's: none is delivered to this thread. */
static ac_kind start(struct ac_io_thread *io, struct ac_error *err)
{
  sigset_t all, before;
  int why;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  why = pthread_create(&io->thread, NULL, run, io);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (why)
    return ac_error_set(err, AC_ERR_MEMORY, "cannot start a thread: errno %d", why);
  pthread_setname_np(io->thread, "agora_chat");
  io->started = 1;
  return AC_OK;
}

/* -- the owner -- */

/* With the mutex. Returns whether the thread is to be woken. */
static int thread_sleeps(struct ac_io_thread *io)
{
  int asleep = io->asleep;

  io->asleep = 0;
  return asleep;
}

/* Woken outside of the lock, so that it need not wait for it. */
static void unlock_and_rouse(struct ac_io_thread *io)
{
  int rouse = io->started && thread_sleeps(io);

  pthread_mutex_unlock(&io->mutex);
  if (rouse)
    ac_runner_rouse(io->inner);
}

ac_kind ac_io_thread_submit(struct ac_io_thread *io, struct ac_call *call,
                            int64_t *out_id, struct ac_error *err)
{
  if (!io->started && start(io, err) != AC_OK)
    return err->kind;
  pthread_mutex_lock(&io->mutex);
  if (io->stats.queued + io->inbox.count + io->carried >= io->max_queue) {
    pthread_mutex_unlock(&io->mutex);
    return ac_error_set(err, AC_ERR_OVERLOAD, "%d calls wait already",
                        io->max_queue);
  }
  call->id = *out_id = ++io->last_id;
  ac_list_push_back(&io->inbox.calls, &call->link);
  io->inbox.count++;
  io->pending++;
  unlock_and_rouse(io);
  return AC_OK;
}

void ac_io_thread_cancel(struct ac_io_thread *io, int64_t id)
{
  struct inbox *in = &io->inbox;

  pthread_mutex_lock(&io->mutex);
  if (in->cancelled_count == in->cancelled_size) {
    size_t size = in->cancelled_size ? 2 * in->cancelled_size : 16;
    int64_t *grown = realloc(in->cancelled, size * sizeof *grown);

    if (!grown) { /* it ends by its answer or deadline then */
      pthread_mutex_unlock(&io->mutex);
      return;
    }
    in->cancelled = grown;
    in->cancelled_size = size;
  }
  in->cancelled[in->cancelled_count++] = id;
  unlock_and_rouse(io);
}

ac_kind ac_io_thread_set_token(struct ac_io_thread *io, struct ac_slice token,
                               int64_t ttl_s, struct ac_error *err)
{
  struct ac_buffer copy, old;
  ac_kind kind = ac_client_check_token(token, err);

  if (kind != AC_OK)
    return kind;
  ac_buffer_init(&copy, AC_TOKEN_MAX_BYTES);
  if (ac_buffer_add(&copy, token.bytes, token.length) != AC_OK)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the token");
  pthread_mutex_lock(&io->mutex);
  old = io->inbox.token;
  io->inbox.token = copy;
  io->inbox.ttl_s = ttl_s;
  io->inbox.failed = 0;
  store(&io->token_wanted, 0);
  unlock_and_rouse(io);
  ac_buffer_wipe(&old);
  return AC_OK;
}

int ac_io_thread_wants_token(struct ac_io_thread *io)
{
  return load(&io->token_wanted) &&
         __atomic_exchange_n(&io->token_wanted, 0, __ATOMIC_ACQ_REL);
}

void ac_io_thread_token_failed(struct ac_io_thread *io, const char *message)
{
  pthread_mutex_lock(&io->mutex);
  io->inbox.failed = 1;
  ac_text_clean(message, strlen(message), io->inbox.failure,
                sizeof io->inbox.failure);
  unlock_and_rouse(io);
}

/* With the mutex: the owner has found nothing, so the next thing that comes
   wakes it. Only here, and not where a descriptor is read: a wake-up that
   is still under way must stay one. */
static void found_nothing(struct ac_io_thread *io)
{
  uint64_t times;

  if (!io->signalled)
    return;
  store(&io->signalled, 0);
  if (!io->closed && read(io->fd, &times, sizeof times) < 0)
    return; /* it was the hook that was called */
}

static int64_t clock_ms(void)
{
  static const struct ac_clock real;

  return ac_clock_ms(&real);
}

/* Until something comes; 0 when a signal came instead. */
static int wait_for_thread(struct ac_io_thread *io, int64_t left_ms)
{
  struct pollfd look = {io->fd, POLLIN, 0};
  int nothing, came = 1;

  pthread_mutex_lock(&io->mutex);
  nothing = io->ready == 0 && !load(&io->token_wanted);
  if (nothing) {
    found_nothing(io);
    io->owner_waits = 1;
  }
  pthread_mutex_unlock(&io->mutex);
  if (!nothing)
    return 1;
  came = poll(&look, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms) >= 0;
  pthread_mutex_lock(&io->mutex);
  io->owner_waits = 0;
  pthread_mutex_unlock(&io->mutex);
  return came;
}

int ac_io_thread_poll(struct ac_io_thread *io, int64_t wait_ms)
{
  int64_t until = 0;

  for (;;) {
    int ready = load(&io->ready);

    if (ready == 0 && load(&io->signalled)) {
      pthread_mutex_lock(&io->mutex);
      if (io->ready == 0)
        found_nothing(io);
      pthread_mutex_unlock(&io->mutex);
    }
    if (ready > 0 || io->closed || wait_ms <= 0 || io->pending == 0 ||
        load(&io->token_wanted))
      return ready;
    if (until == 0)
      until = clock_ms() + wait_ms;
    else
      wait_ms = until - clock_ms();
    if (wait_ms > 0 && !wait_for_thread(io, wait_ms))
      return load(&io->ready);
  }
}

int ac_io_thread_ready(const struct ac_io_thread *io)
{
  return load(&io->ready);
}

struct ac_call *ac_io_thread_take_done(struct ac_io_thread *io)
{
  struct ac_list *node;

  if (load(&io->ready) == 0 && !load(&io->signalled))
    return NULL;
  pthread_mutex_lock(&io->mutex);
  node = ac_list_take_front(&io->done);
  if (node)
    store(&io->ready, io->ready - 1);
  else
    found_nothing(io);
  pthread_mutex_unlock(&io->mutex);
  if (!node)
    return NULL;
  io->pending--;
  return AC_LIST_ENTRY(node, struct ac_call, link);
}

void ac_io_thread_return(struct ac_io_thread *io, struct ac_call *call)
{
  if (call->result && io->started && !io->closed) {
    pthread_mutex_lock(&io->mutex);
    if (io->used_count < MAX_USED) {
      io->used_count++;
      call->result->next = io->used;
      io->used = call->result;
      call->result = NULL;
    }
    pthread_mutex_unlock(&io->mutex);
  }
  ac_call_free(call);
}

int ac_io_thread_next_event(struct ac_io_thread *io, struct ac_event *out)
{
  int any;

  if (load(&io->event_count) == 0)
    return 0;
  pthread_mutex_lock(&io->mutex);
  any = io->event_count > 0;
  if (any) {
    *out = io->events[io->first_event];
    io->first_event = (io->first_event + 1) % MAX_EVENTS;
    store(&io->event_count, io->event_count - 1);
  }
  pthread_mutex_unlock(&io->mutex);
  return any;
}

int ac_io_thread_fd(const struct ac_io_thread *io)
{
  return io->closed ? -1 : io->fd;
}

int ac_io_thread_due_in_ms(const struct ac_io_thread *io)
{
  return load(&io->ready) > 0 || load(&io->token_wanted) ? 0 : -1;
}

int64_t ac_io_thread_pending(const struct ac_io_thread *io)
{
  return io->pending;
}

void ac_io_thread_stats(struct ac_io_thread *io, struct ac_stats *out)
{
  int64_t more;

  pthread_mutex_lock(&io->mutex);
  more = io->inbox.count + io->carried;
  *out = io->stats;
  pthread_mutex_unlock(&io->mutex);
  out->accepted += more;
  out->queued += more;
}

void ac_io_thread_set_wake(struct ac_io_thread *io, const struct ac_wake *wake)
{
  pthread_mutex_lock(&io->mutex);
  io->wake = *wake;
  pthread_mutex_unlock(&io->mutex);
}

/* -- the end -- */

/* Nobody waits for itself: whoever is woken may end the owner, and with it
   the client, on this very thread (skynet does, when a message meets a service
   that has just ended and the sender is the last to let go of it). */
static int on_own_thread(const struct ac_io_thread *io)
{
  return pthread_equal(pthread_self(), io->thread);
}

static int wait_until_finished(struct ac_io_thread *io)
{
  struct timespec until;
  int late = on_own_thread(io), finished;

  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += JOIN_S;
  pthread_mutex_lock(&io->mutex);
  io->stop = 1;
  /* Inside the lock: a thread that finds the stop by itself frees what it is
     woken by. */
  if (thread_sleeps(io))
    ac_runner_rouse(io->inner);
  while (!io->finished && !late)
    late = pthread_cond_timedwait(&io->finished_changed, &io->mutex, &until);
  finished = io->finished;
  if (!finished)
    io->pending = io->ready;
  pthread_mutex_unlock(&io->mutex);
  return finished;
}

void ac_io_thread_close(struct ac_io_thread *io)
{
  if (io->closed)
    return;
  if (!io->started) {
    ac_runner_close(io->inner);
  } else if (wait_until_finished(io)) {
    pthread_join(io->thread, NULL);
  } else {
    pthread_detach(io->thread);
    io->left = 1;
  }
  io->closed = 1;
  if (!io->left) {
    close(io->fd);
    io->fd = -1;
  }
}

/* Of owner and thread, the last one out. */
void ac_io_thread_free(struct ac_io_thread *io)
{
  int finished;

  if (!io)
    return;
  if (io->left) {
    pthread_mutex_lock(&io->mutex);
    finished = io->finished;
    io->orphan = 1;
    pthread_mutex_unlock(&io->mutex);
    if (!finished)
      return;
  }
  free_all(io);
}

void ac_io_thread_abandon(struct ac_io_thread *io)
{
  /* A thread that is not there in the child may have been in the middle of
     anything: what was its stays as it is. */
  if (!io->started)
    ac_runner_free(io->inner);
}
