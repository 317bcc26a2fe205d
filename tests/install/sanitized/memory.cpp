// Faults of memory, one a scenario: memory NAME. The line marked with the name must be reported, and nothing else.
#include <weft/weft.hpp>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace {

std::size_t volatile beyond = 16;  // not known to the compiler
int volatile sink;

void heap_overflow() {
  weft::spawn([] {
    auto const bytes = std::make_unique<char[]>(16);
    weft::yield();
    sink = bytes[beyond];  // heap_overflow: heap-buffer-overflow
  }).join();
}

/// One task frees, another uses.
void use_after_free() {
  auto given = weft::make_chan<int*>();
  auto user = weft::spawn([&] {
    int* const number = *given.recv();
    (void)given.recv();
    sink = *number;  // use_after_free: heap-use-after-free
  });
  int* const number = new int(1);
  given.send(number);
  delete number;
  given.send(nullptr);
  user.join();
}

void stack_overflow() {
  weft::spawn([] {
    char bytes[16] = {};
    weft::yield();
    bytes[beyond] = 1;  // stack_overflow: stack-buffer-overflow
    sink = bytes[0];
  }).join();
}

/// A frame of a task that has ended.
void use_after_return() {
  int* const left = weft::spawn([] {
                      int number = 1;
                      int* volatile address = &number;
                      weft::yield();
                      return address;
                    }).join();
  sink = *left;  // use_after_return: stack-use-after-return
}

void use_after_scope() {
  weft::spawn([] {
    int* volatile left = nullptr;
    {
      int number = 1;
      left = &number;
      weft::yield();
    }
    sink = *left;  // use_after_scope: stack-use-after-scope
  }).join();
}

/// What a task captured goes with the task.
void closure_of_an_ended_task() {
  int const volatile* left = nullptr;
  weft::spawn([&left, number = 1] { left = &number; }).join();
  sink = *left;  // closure_of_an_ended_task: use-after-poison
}

/// The same without a handle: what it captured lay where the free block has its links.
void closure_of_a_task_that_was_let_go() {
  std::atomic<int const*> left = nullptr;
  weft::go([number = 1, &left] { left = &number; });
  for (int i = 0; i < 1'000'000; ++i) {  // until it has ended
    weft::yield();
    if (int const volatile* const at = left) sink = *at;  // closure_of_a_task_that_was_let_go: use-after-poison
  }
}

/// With others that an exception unwinds, and whose frames are overflowed by nobody.
void while_unwinding() {
  struct last_look {
    char const* bytes;
    ~last_look() {
      sink = bytes[beyond];  // while_unwinding: stack-buffer-overflow
    }
  };
  weft::task_group group;
  auto never = weft::make_chan<int>();
  group.spawn([&] {
    char bytes[16] = {};
    last_look const look{bytes};
    (void)never.recv();
  });
  group.spawn([] { throw 1; });
  try {
    group.wait();
  } catch (int) {
  }
}

void leak() {
  weft::spawn([] {
    int* volatile lost = new int[10];  // leak: detected memory leaks
    weft::yield();
    sink = lost[0];
    lost = nullptr;
  }).join();
}

std::map<std::string, void (*)()> const scenarios{
    {"heap_overflow", heap_overflow},
    {"use_after_free", use_after_free},
    {"stack_overflow", stack_overflow},
    {"use_after_return", use_after_return},
    {"use_after_scope", use_after_scope},
    {"closure_of_an_ended_task", closure_of_an_ended_task},
    {"closure_of_a_task_that_was_let_go", closure_of_a_task_that_was_let_go},
    {"while_unwinding", while_unwinding},
    {"leak", leak},
};

}  // namespace

int main(int argc, char** argv) {
  auto const chosen = scenarios.find(argc == 2 ? argv[1] : "");
  if (chosen == scenarios.end()) {
    for (auto const& [name, _] : scenarios) std::puts(name.c_str());
    return 2;
  }
  weft::run({.workers = 2}, chosen->second);
}
