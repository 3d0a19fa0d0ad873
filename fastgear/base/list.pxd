# SPDX-License-Identifier: MIT
"""Circular, doubly linked, intrusive lists. A link that is on no list points to itself, and so does an empty head."""

from fastgear.base.check cimport fg_check

ctypedef struct link_t:
    link_t* prev
    link_t* next

cdef inline void link_init(link_t* link) noexcept nogil:
    link.prev = link.next = link

cdef inline bint link_is_linked(const link_t* link) noexcept nogil:
    return link.next != link

cdef inline void list_init(link_t* head) noexcept nogil:
    head.prev = head.next = head

cdef inline bint list_is_empty(const link_t* head) noexcept nogil:
    return head.next == head

cdef inline void link_between(link_t* prev, link_t* link, link_t* next) noexcept nogil:
    fg_check(not link_is_linked(link) or link.next == NULL)
    link.prev = prev
    link.next = next
    prev.next = link
    next.prev = link

cdef inline void list_push_back(link_t* head, link_t* link) noexcept nogil:
    link_between(head.prev, link, head)

cdef inline void list_push_front(link_t* head, link_t* link) noexcept nogil:
    link_between(head, link, head.next)

cdef inline void link_remove(link_t* link) noexcept nogil:
    fg_check(link_is_linked(link))
    link.prev.next = link.next
    link.next.prev = link.prev
    link.prev = link.next = link

# Off its list, if it is on one.
cdef inline void link_unlink(link_t* link) noexcept nogil:
    if link_is_linked(link):
        link_remove(link)

# NULL when the list is empty.
cdef inline link_t* list_first(link_t* head) noexcept nogil:
    return head.next if head.next != head else NULL

cdef inline link_t* list_pop_front(link_t* head) noexcept nogil:
    cdef link_t* link = list_first(head)
    if link != NULL:
        link_remove(link)
    return link
