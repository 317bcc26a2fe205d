// host PLUGIN: knows nothing of weft. The plug-in's thread-local variables must fit into what the loader has left for such.
#include <dlfcn.h>

#include <cstdio>

int main(int, char** argv) {
  for (int i = 0; i < 3; ++i) {
    void* const plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) return std::puts(dlerror()), 1;
    auto* const run = reinterpret_cast<int (*)(int)>(dlsym(plugin, "part_run"));
    if (run == nullptr || run(i) != i) return std::puts("the plug-in does not run tasks"), 1;
    if (dlclose(plugin) != 0) return std::puts(dlerror()), 1;
  }
  return 0;
}
