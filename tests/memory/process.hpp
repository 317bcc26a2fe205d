// What a failed operation may leave behind in the process besides memory.
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <signal.h>

/// Whether the calling thread's mask keeps the signal from it.
inline bool blocks(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

inline int open_descriptors() {
  int n = 0;
  DIR* const all = ::opendir("/proc/self/fd");
  while (::readdir(all) != nullptr) ++n;
  ::closedir(all);
  return n;
}
