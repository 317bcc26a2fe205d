// host PLUGIN COPY: knows nothing of weft. The plug-in's thread-local variables must fit into what the loader has left for such; the copy, as
// another company's plug-in, has a weft of its own where that is a static library.
#include <dlfcn.h>
#include <netdb.h>

#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <thread>

namespace {

constexpr std::chrono::milliseconds slow(200);

void* load(char const* path) {
  void* const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) std::puts(dlerror());
  return plugin;
}

template <class F>
F* function(void* plugin, char const* name) {
  return reinterpret_cast<F*>(dlsym(plugin, name));
}

}  // namespace

/// Instead of the system's, for the plug-ins, too: a name server that is silent.
extern "C" int getaddrinfo(char const*, char const*, addrinfo const*, addrinfo**) {
  std::this_thread::sleep_for(slow);
  return EAI_AGAIN;
}

int main(int, char** argv) {
  for (int i = 0; i < 3; ++i) {
    void* const plugin = load(argv[1]);
    if (plugin == nullptr) return 1;
    auto* const run = function<int(int)>(plugin, "part_run");
    if (run == nullptr || run(i) != i) return std::puts("the plug-in does not run tasks"), 1;
    if (dlclose(plugin) != 0) return std::puts(dlerror()), 1;
  }

  void* const left = load(argv[2]);  // a thread of weft's is still in it
  if (left == nullptr) return 1;
  std::thread(function<void()>(left, "part_gives_up_a_look_up")).join();
  if (dlclose(left) != 0) return std::puts(dlerror()), 1;
  std::this_thread::sleep_for(2 * slow);

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
  return 0;
}
