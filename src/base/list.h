/* list.h - an intrusive doubly linked list: no allocation, O(1) removal.
 *
 * A ring with a head. A node that is in no list points at itself, so removing
 * it twice is harmless. */
#ifndef AC_LIST_H
#define AC_LIST_H

#include <stddef.h>

struct ac_list {
  struct ac_list *next, *previous;
};

/* The struct that holds this node. */
#define AC_LIST_ENTRY(node, type, member) \
  ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void ac_list_init(struct ac_list *node)
{
  node->next = node->previous = node;
}

static inline int ac_list_empty(const struct ac_list *head)
{
  return head->next == head;
}

static inline void ac_list_insert(struct ac_list *after, struct ac_list *node)
{
  node->previous = after;
  node->next = after->next;
  after->next->previous = node;
  after->next = node;
}

static inline void ac_list_push_back(struct ac_list *head,
                                     struct ac_list *node)
{
  ac_list_insert(head->previous, node);
}

static inline void ac_list_push_front(struct ac_list *head,
                                      struct ac_list *node)
{
  ac_list_insert(head, node);
}

static inline void ac_list_remove(struct ac_list *node)
{
  node->previous->next = node->next;
  node->next->previous = node->previous;
  ac_list_init(node);
}

/* The first node, removed; NULL when the list is empty. */
static inline struct ac_list *ac_list_take_front(struct ac_list *head)
{
  struct ac_list *node = head->next;

  if (node == head)
    return NULL;
  ac_list_remove(node);
  return node;
}

/* Moves everything from one list to the end of another. */
static inline void ac_list_move_all(struct ac_list *to, struct ac_list *from)
{
  if (ac_list_empty(from))
    return;
  to->previous->next = from->next;
  from->next->previous = to->previous;
  from->previous->next = to;
  to->previous = from->previous;
  ac_list_init(from);
}

#endif
