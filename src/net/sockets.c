#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ac_socket **bucket_of(struct ac_sockets *table, int fd)
{
  return &table->by_fd[(unsigned)fd % AC_SOCKET_BUCKETS];
}

void ac_sockets_init(struct ac_sockets *table, int epoll)
{
  memset(table, 0, sizeof *table);
  table->epoll = epoll;
  ac_list_init(&table->all);
}

void ac_sockets_free(struct ac_sockets *table)
{
  struct ac_list *node;

  while ((node = ac_list_take_front(&table->all)))
    free(AC_LIST_ENTRY(node, struct ac_socket, link));
  memset(table->by_fd, 0, sizeof table->by_fd);
}

struct ac_socket *ac_sockets_by_fd(struct ac_sockets *table, int fd)
{
  struct ac_socket *s = *bucket_of(table, fd);

  while (s && s->fd != fd)
    s = s->next_by_fd;
  return s;
}

static void forget(struct ac_sockets *table, struct ac_socket *s)
{
  struct ac_socket **at = bucket_of(table, s->fd);

  while (*at != s)
    at = &(*at)->next_by_fd;
  *at = s->next_by_fd;
  if (s->use)
    s->use->socket = NULL;
  ac_list_remove(&s->link);
  free(s);
}

/* 0 where the kernel has no cookies (before 4.12). */
static uint64_t cookie_of(int fd)
{
#ifdef SO_COOKIE
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;

  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0)
    return cookie;
#endif
  (void)fd;
  return 0;
}

int ac_sockets_open(struct ac_sockets *table, const struct curl_sockaddr *address)
{
  struct ac_socket *s = malloc(sizeof *s);
  struct ac_socket *stale;
  struct ac_socket **at;

  if (!s) {
    errno = ENOMEM;
    return -1;
  }
  memset(s, 0, sizeof *s);
  s->fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                 address->protocol);
  if (s->fd < 0) {
    int why = errno;

    free(s);
    errno = why;
    return -1;
  }
  /* An attempt that is dropped while it connects: libcurl closes its socket
     without telling (cf_socket_close: "did never publish it"). */
  stale = ac_sockets_by_fd(table, s->fd);
  if (stale)
    forget(table, stale);
  s->cookie = cookie_of(s->fd);
  at = bucket_of(table, s->fd);
  s->next_by_fd = *at;
  *at = s;
  ac_list_push_back(&table->all, &s->link);
  return s->fd;
}

static int64_t bytes_received(int fd)
{
  struct tcp_info info;
  socklen_t length = sizeof info;

  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) ||
      length < offsetof(struct tcp_info, tcpi_bytes_received) +
                   sizeof info.tcpi_bytes_received)
    return -1;
  return (int64_t)info.tcpi_bytes_received;
}

void ac_sockets_close(struct ac_sockets *table, int fd)
{
  struct ac_socket *s = ac_sockets_by_fd(table, fd);

  if (s) {
    if (s->use)
      s->use->stray_bytes = bytes_received(fd) - s->bytes_in;
    if (s->events) /* a forked child may keep the socket alive in the set */
      epoll_ctl(table->epoll, EPOLL_CTL_DEL, fd, NULL);
    forget(table, s);
  }
  close(fd);
}

void ac_socket_begin_use(struct ac_socket *socket, struct ac_socket_use *use)
{
  ac_socket_end_use(use);
  if (socket->use)
    socket->use->socket = NULL;
  socket->use = use;
  use->socket = socket;
}

void ac_socket_end_use(struct ac_socket_use *use)
{
  if (use->socket)
    use->socket->use = NULL;
  use->socket = NULL;
}

static int port_of(int fd)
{
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } name;
  socklen_t length = sizeof name;

  if (getsockname(fd, &name.any, &length))
    return 0;
  if (name.any.sa_family == AF_INET)
    return ntohs(name.v4.sin_port);
  return name.any.sa_family == AF_INET6 ? ntohs(name.v6.sin6_port) : 0;
}

static int peer_is(int fd, const char *remote_ip)
{
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } name;
  socklen_t length = sizeof name;
  char text[INET6_ADDRSTRLEN] = "";

  if (getpeername(fd, &name.any, &length))
    return 0;
  if (name.any.sa_family == AF_INET)
    inet_ntop(AF_INET, &name.v4.sin_addr, text, sizeof text);
  else if (name.any.sa_family == AF_INET6)
    inet_ntop(AF_INET6, &name.v6.sin6_addr, text, sizeof text);
  return strcmp(text, remote_ip) == 0;
}

struct ac_socket *ac_sockets_by_port(struct ac_sockets *table, int local_port,
                                     const char *remote_ip)
{
  struct ac_socket *found = NULL;
  struct ac_list *node, *next;

  for (node = table->all.next; node != &table->all; node = next) {
    struct ac_socket *s = AC_LIST_ENTRY(node, struct ac_socket, link);

    next = node->next;
    if (s->local_port == 0) {
      if (cookie_of(s->fd) != s->cookie) {
        forget(table, s); /* closed behind our back, see ac_sockets_open */
        continue;
      }
      s->local_port = port_of(s->fd);
    }
    if (s->local_port != local_port)
      continue;
    /* Two connections to two addresses may share a port. */
    if (!found || !peer_is(found->fd, remote_ip))
      found = s;
  }
  return found;
}

void ac_socket_distrust(struct ac_socket *socket)
{
  socket->distrusted = 1;
  shutdown(socket->fd, SHUT_RDWR);
}

int ac_socket_readable(const struct ac_socket *socket)
{
  struct pollfd look = {socket->fd, POLLIN, 0};

  return poll(&look, 1, 0) != 0;
}

static int set_events(struct ac_sockets *table, int fd, uint32_t events, int is_new)
{
  struct epoll_event event;

  memset(&event, 0, sizeof event);
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(table->epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0)
    return 0;
  if (errno != EEXIST && errno != ENOENT)
    return -1;
  return epoll_ctl(table->epoll, is_new ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

int ac_sockets_watch(struct ac_sockets *table, int fd, int what)
{
  struct ac_socket *s = ac_sockets_by_fd(table, fd);
  uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                    (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

  if (what == CURL_POLL_REMOVE)
    events = 0;
  if (!s) {
    if (events)
      return set_events(table, fd, events, 1);
    epoll_ctl(table->epoll, EPOLL_CTL_DEL, fd, NULL);
    return 0;
  }
  s->watched = events != 0;
  if (!events) {
    if (s->requests == 0 && cookie_of(fd) != s->cookie) {
      forget(table, s);
    } else if (s->events & EPOLLOUT) { /* would be ready all the time */
      epoll_ctl(table->epoll, EPOLL_CTL_DEL, fd, NULL);
      s->events = 0;
    }
    return 0;
  }
  if (s->events == events)
    return 0;
  if (set_events(table, fd, events, s->events == 0))
    return -1;
  s->events = events;
  return 0;
}

int ac_sockets_event(struct ac_sockets *table, int fd)
{
  struct ac_socket *s = ac_sockets_by_fd(table, fd);

  if (!s || s->watched)
    return 1;
  epoll_ctl(table->epoll, EPOLL_CTL_DEL, fd, NULL);
  s->events = 0;
  return 0;
}
