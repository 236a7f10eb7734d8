/* A program that the preloaded library does not reach: it is linked statically (cmake/Tests.cmake). What comes in on descriptor 0
 * goes out on descriptor 1.
 *
 *   static_echo          until the end of the stream
 *   static_echo half     and then it shuts its side, and waits until descriptor 0 is closed by a signal
 *   static_echo N        only N bytes
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put(const char* from, size_t n) {
  while (n > 0) {
    const ssize_t k = write(1, from, n);
    if (k < 0) {
      perror("static_echo: write");
      exit(1);
    }
    from += k;
    n -= (size_t)k;
  }
}

int main(int argc, char** argv) {
  static char buffer[1 << 20];
  const int half = argc > 1 && strcmp(argv[1], "half") == 0;
  size_t left = argc > 1 && !half ? strtoul(argv[1], NULL, 10) : (size_t)-1;
  while (left > 0) {
    const ssize_t n = read(0, buffer, left < sizeof buffer ? left : sizeof buffer);
    if (n < 0) {
      fprintf(stderr, "static_echo: read: %s\n", strerror(errno));
      return 1;
    }
    if (n == 0) break;
    put(buffer, (size_t)n);
    left -= (size_t)n;
  }
  if (half) {
    shutdown(1, SHUT_WR);
    pause();
  }
  return 0;
}
