/* sockets.h - the sockets libcurl has open: which is which, which are being
 * watched, which may not be used again.
 *
 * libcurl (7.88) hands an answer that nobody asked for, sent while a kept
 * connection was idle, to the next call. Whoever is about to send over a kept
 * connection can only prevent that by looking at the socket itself, and all
 * libcurl says at that moment is a port. Hence this table.
 *
 * A kept socket stays in the epoll set between two requests: most requests
 * then need no epoll_ctl at all. What happens to it meanwhile wakes us once
 * and takes it out of the set. */
#ifndef AC_SOCKETS_H
#define AC_SOCKETS_H

#include <curl/curl.h>
#include <stdint.h>

#include "../base/list.h"

struct ac_socket;

/* What an attempt knows of the socket its request went over. */
struct ac_socket_use {
  struct ac_socket *socket;  /* NULL: none yet, closed, or another's by now */
  int64_t stray_bytes;       /* came before it was closed, in no answer's account */
};

struct ac_socket {
  struct ac_list link;
  struct ac_socket *next_by_fd;
  int fd;
  uint64_t cookie;           /* the kernel's name for it: a number may be reused */
  int local_port;            /* 0: not asked yet */
  int64_t requests;          /* that were sent over it */
  int64_t bytes_in;          /* of their answers */
  uint32_t events;           /* registered with epoll; 0: not in the set */
  int watched;               /* libcurl asked for its events */
  int distrusted;
  struct ac_socket_use *use; /* of the last request; NULL: nobody's */
};

enum { AC_SOCKET_BUCKETS = 128 };

struct ac_sockets {
  int epoll;                 /* borrowed */
  struct ac_list all;
  struct ac_socket *by_fd[AC_SOCKET_BUCKETS];
};

void ac_sockets_init(struct ac_sockets *table, int epoll);
void ac_sockets_free(struct ac_sockets *table); /* the table, no descriptor */

/* A new socket, close-on-exec; -1 and errno. */
int ac_sockets_open(struct ac_sockets *table, const struct curl_sockaddr *address);

void ac_sockets_close(struct ac_sockets *table, int fd);

/* NULL: not opened here (libcurl's own, of its resolver). */
struct ac_socket *ac_sockets_by_fd(struct ac_sockets *table, int fd);
struct ac_socket *ac_sockets_by_port(struct ac_sockets *table, int local_port,
                                     const char *remote_ip);

/* From now on the socket is this attempt's. */
void ac_socket_begin_use(struct ac_socket *socket, struct ac_socket_use *use);
void ac_socket_end_use(struct ac_socket_use *use);

/* No request may go over it again: it is shut down, so that libcurl finds it dead. */
void ac_socket_distrust(struct ac_socket *socket);

/* Would a read return at once? For a connection that should be silent. */
int ac_socket_readable(const struct ac_socket *socket);

/* libcurl's wish (CURL_POLL_...) carried out. 0, or -1 when epoll refused. */
int ac_sockets_watch(struct ac_sockets *table, int fd, int what);

/* An event came for it. 1: libcurl is to be told. 0: nobody waits for it. */
int ac_sockets_event(struct ac_sockets *table, int fd);

#endif
