// pipeline: three stages joined by channels, and a last one that selects: over the results, over complaints, and over a
// timeout for when its source falls silent.
//
// select waits until one of its cases can happen and does exactly that one. Each case has a handler; what the handler's
// parameter is declared as decides what it gets: a std::optional is empty when the channel is closed.
#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include <weft/chan.hpp>
#include <weft/select.hpp>
#include <weft/task.hpp>

#include "support/interruptible.hpp"

using namespace std::chrono_literals;

namespace {

// First stage: lines of text, and then nothing for a very long time. It never closes its channel.
void read_lines(weft::sender<std::string> out) {
  for (char const* line : {"3", "14", "fifteen", "92", "65"}) out.send(std::string(line));
  weft::sleep_for(24h);  // the end of the first task cancels this, and unwinds the stack
}

// Second stage: numbers, or a complaint.
void parse(weft::receiver<std::string> in, weft::sender<int> numbers, weft::sender<std::string> complaints) {
  for (std::string const& line : in) {
    try {
      numbers.send(std::stoi(line));
    } catch (std::exception const&) {
      complaints.send("not a number: " + line);
    }
  }
}

// Third stage.
void square(weft::receiver<int> in, weft::sender<int> out) {
  for (int n : in) out.send(n * n);
}

void app() {
  auto [line_in, lines] = weft::make_ends<std::string>(8);
  auto [number_in, numbers] = weft::make_ends<int>(8);
  auto [square_in, squares] = weft::make_ends<int>(8);
  auto [complaint_in, complaints] = weft::make_ends<std::string>(8);
  weft::go(read_lines, std::move(line_in));
  weft::go(parse, std::move(lines), std::move(number_in), std::move(complaint_in));
  weft::go(square, std::move(numbers), std::move(square_in));

  int sum = 0, complained = 0;
  for (bool more = true; more;) {
    weft::select(weft::on_recv(squares,
                               [&](std::optional<int> n) {
                                 if (n) sum += *n;
                                 else more = false;
                               }),
                 weft::on_recv(complaints,
                               [&](std::string const& text) {
                                 ++complained;
                                 std::cout << text << '\n';
                               }),
                 weft::on_timeout(500ms, [&] {
                   std::cout << "nothing for half a second\n";
                   more = false;
                 }));
  }
  std::cout << "sum of squares " << sum << ", complaints " << complained << '\n';
}

}  // namespace

int main() { return examples::interruptible(app); }
