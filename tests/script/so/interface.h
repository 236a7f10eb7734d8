/* The interface through which packetdrill tests a stack in a shared object (its option --so_filename): the library exports
 * packetdrill_interface_init(), which fills this table. Names, types and order are packetdrill's; the words are ours.
 * Calls have the host's meaning, with `userdata` in front: a result, or -1 and errno. */
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

struct packetdrill_interface {
  void *userdata;
  void (*free)(void *userdata);
  int (*socket)(void *userdata, int domain, int type, int protocol);
  int (*bind)(void *userdata, int fd, const struct sockaddr *address, socklen_t length);
  int (*listen)(void *userdata, int fd, int backlog);
  int (*accept)(void *userdata, int fd, struct sockaddr *address, socklen_t *length);
  int (*connect)(void *userdata, int fd, const struct sockaddr *address, socklen_t length);
  ssize_t (*read)(void *userdata, int fd, void *buffer, size_t count);
  ssize_t (*readv)(void *userdata, int fd, const struct iovec *pieces, int count);
  ssize_t (*recv)(void *userdata, int fd, void *buffer, size_t count, int flags);
  ssize_t (*recvfrom)(void *userdata, int fd, void *buffer, size_t count, int flags, struct sockaddr *address, socklen_t *length);
  ssize_t (*recvmsg)(void *userdata, int fd, struct msghdr *message, int flags);
  ssize_t (*write)(void *userdata, int fd, const void *buffer, size_t count);
  ssize_t (*writev)(void *userdata, int fd, const struct iovec *pieces, int count);
  ssize_t (*send)(void *userdata, int fd, const void *buffer, size_t count, int flags);
  ssize_t (*sendto)(void *userdata, int fd, const void *buffer, size_t count, int flags, const struct sockaddr *address,
                    socklen_t length);
  ssize_t (*sendmsg)(void *userdata, int fd, const struct msghdr *message, int flags);
  int (*fcntl)(void *userdata, int fd, int command, ...);
  int (*ioctl)(void *userdata, int fd, unsigned long request, ...);
  int (*close)(void *userdata, int fd);
  int (*shutdown)(void *userdata, int fd, int how);
  int (*getsockopt)(void *userdata, int fd, int level, int name, void *value, socklen_t *length);
  int (*setsockopt)(void *userdata, int fd, int level, int name, const void *value, socklen_t length);
  int (*poll)(void *userdata, struct pollfd *fds, nfds_t count, int timeout);
  /* An IP packet to the stack. 0, or -1. */
  int (*netdev_send)(void *userdata, const void *packet, size_t count);
  /* The next packet that leaves, and when; *count is the room before and the length after, 0: none came. 0, or -1. */
  int (*netdev_receive)(void *userdata, void *packet, size_t *count, long long *time_usecs);
  int (*usleep)(void *userdata, useconds_t time);
  int (*gettimeofday)(void *userdata, struct timeval *time, struct timezone *zone);
  int (*epoll_create)(void *userdata, int size);
  int (*epoll_ctl)(void *userdata, int epoll, int operation, int fd, struct epoll_event *event);
  int (*epoll_wait)(void *userdata, int epoll, struct epoll_event *events, int most, int timeout);
  int (*pipe)(void *userdata, int fds[2]);
  int (*splice)(void *userdata, int from, loff_t *from_at, int to, loff_t *to_at, size_t count, unsigned int flags);
};

/* `flags` is what --so_flags said, or NULL. Without success `userdata` is NULL. */
typedef void (*packetdrill_interface_init_t)(const char *flags, struct packetdrill_interface *table);

#ifdef __cplusplus
}
#endif
