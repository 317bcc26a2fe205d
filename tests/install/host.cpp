// host PLUGIN COPY COPY: knows nothing of weft. The plug-in's thread-local variables must fit into what the loader has left for such; the copy, as
// another company's plug-in, has a weft of its own where that is a static library.
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <thread>

namespace {

constexpr std::chrono::milliseconds slow(200);
std::atomic<bool> threads_begin_late{false};

struct beginning {
  void* (*routine)(void*);
  void* argument;
};

void* begin_late(void* arg) {
  beginning const it = *static_cast<beginning*>(arg);
  delete static_cast<beginning*>(arg);
  if (threads_begin_late) std::this_thread::sleep_for(slow / 2);
  return it.routine(it.argument);
}

void* load(char const* path) {
  void* const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) std::puts(dlerror());
  return plugin;
}

template <class F>
F* function(void* plugin, char const* name) {
  return reinterpret_cast<F*>(dlsym(plugin, name));
}

/// Unloads a plug-in in which a thread of weft's still is.
bool leave(char const* path, char const* call) {
  void* const plugin = load(path);
  if (plugin == nullptr) return false;
  std::thread(function<void()>(plugin, call)).join();
  if (dlclose(plugin) != 0) return std::puts(dlerror()), false;
  std::this_thread::sleep_for(3 * slow);
  return true;
}

}  // namespace

/// Instead of the system's, for the plug-ins, too: a name server that is silent.
extern "C" int getaddrinfo(char const*, char const*, addrinfo const*, addrinfo**) {
  std::this_thread::sleep_for(slow);
  return EAI_AGAIN;
}

/// Around the system's: a machine that is busy.
extern "C" int pthread_create(pthread_t* thread, pthread_attr_t const* attributes, void* (*routine)(void*),
                              void* argument) noexcept {
  static auto* const systems = function<decltype(pthread_create)>(RTLD_NEXT, "pthread_create");
  return systems(thread, attributes, begin_late, new beginning{routine, argument});
}

int main(int, char** argv) {
  for (int i = 0; i < 3; ++i) {
    void* const plugin = load(argv[1]);
    if (plugin == nullptr) return 1;
    auto* const run = function<int(int)>(plugin, "part_run");
    if (run == nullptr || run(i) != i) return std::puts("the plug-in does not run tasks"), 1;
    if (dlclose(plugin) != 0) return std::puts(dlerror()), 1;
  }

  for (bool const late : {false, true}) {
    threads_begin_late = late;
    if (!leave(late ? argv[1] : argv[2], "part_gives_up_a_look_up")) return 1;
  }
  threads_begin_late = false;

  void* const one = load(argv[1]);
  void* const other = load(argv[2]);
  if (one == nullptr || other == nullptr) return 1;
  for (int i = 0; i < 2; ++i) {
    function<void()>(one, "part_begin")();
    (void)function<int(int)>(other, "part_run")(i);
    function<void()>(one, "part_end")();
  }
  for (void* const plugin : {one, other})  // which asks what runtimes there are
    if (function<int()>(plugin, "part_finds_deadlock")() != 1) return std::puts("no deadlock is found"), 1;

  // The last, since this thread stays, of which the other weft knows nothing that looks for deadlocks.
  threads_begin_late = true;
  if (!leave(argv[3], "part_asks_for_signals")) return 1;
  return 0;
}
