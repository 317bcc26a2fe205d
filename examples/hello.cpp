// hello: the smallest whole program, and what tasks give you: results, exceptions and time.
//
// weft::run starts a runtime, runs the function as its first task and returns when no task is left.
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

#include <weft/run.hpp>
#include <weft/task.hpp>

using namespace std::chrono_literals;

std::string greet(std::string name) {
  weft::sleep_for(10ms);  // parks this task alone: its thread goes on with the others
  return "hello, " + name;
}

int main() {
  return weft::run([] {
    // A task costs no thread. spawn returns a handle; both tasks sleep at the same time.
    auto first = weft::spawn(greet, "world");
    auto second = weft::spawn(greet, "weft");
    std::cout << first.join() << '\n' << second.join() << '\n';

    // What a task throws comes out of join.
    auto third = weft::spawn([]() -> int { throw std::runtime_error("nobody is there"); });
    try {
      third.join();
    } catch (std::exception const& e) {
      std::cout << "the third task said: " << e.what() << '\n';
    }
    return 0;
  });
}
