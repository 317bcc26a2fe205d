// A message is a block of lines.
//
//   reader -> filled -> parsers -> parsed -> router -> one channel a service -> writers
//
// 1. The reader fills free blocks and numbers them.
// 2. A parser notes in the block which of its lines go where. Any number of parsers may overtake each other.
// 3. The router takes the blocks up in the order of their numbers, so that every file has its lines in the order of the input;
//    a block that is early waits in a table. That cannot stop the pipeline: the table has a place for each block there is, and the
//    block whose turn it is is with a parser or in a channel.
// 4. Lines are gathered by service and go to its writer 64 KB at a time, or when no block has come for a while. Buffers
//    come back by the channel `spare`.
#include "pipeline.hpp"

#include <weft/chan.hpp>
#include <weft/time.hpp>

#include <string>
#include <utility>
#include <vector>

namespace logs {

namespace {

using buffers = weft::chan<std::string>;
constexpr std::size_t most_spare = 4 * write_bytes;

void read(job& j, weft::sender<block*> filled, weft::context until) {
  while (block* const b = next_block(j, until)) filled.send(b);
}

void parse(job& j, weft::receiver<block*> filled, weft::sender<block*> parsed) {
  line_parser parser(j.names, j.least);
  for (block* const b : filled) {
    b->records.clear();
    b->lines = b->below = b->malformed = 0;
    if (b->piece) {
      b->records.push_back(b->as_record());
      b->lines = b->malformed = b->text().ends_with('\n') ? 1 : 0;
      parsed.send(b);
      continue;
    }
    each_line(b->text(), [&](std::string_view line) {
      verdict const v = parser.parse(line);
      ++b->lines;
      if (v.is == verdict::below) {
        ++b->below;
        return;
      }
      if (v.is == verdict::malformed) ++b->malformed;
      b->records.push_back({line.data(), static_cast<std::uint32_t>(line.size()), v.service});
    });
    parsed.send(b);
  }
}

void write(output_file file, weft::receiver<std::string> full, buffers spare) {
  for (std::string& text : full) {
    file.write(text);
    if (text.capacity() > most_spare) continue;  // of a long line: nobody is to keep that
    text.clear();
    (void)spare.try_send(std::move(text));  // enough there already: this one goes
  }
}

class router {
 public:
  router(job& j, weft::task_group& g) : job_(j), group_(g), early_(j.pool.size()) {}

  void run(weft::receiver<block*> const& parsed) {
    while (block* const b = next(parsed)) {
      early_[b->number % early_.size()] = b;
      while (block* const now = take_turn()) {
        route(*now);
        job_.pool.give(now);
      }
    }
    send_all();
  }

 private:
  struct target {
    std::string text;
    weft::sender<std::string> full;  // nil: nothing has come for this service yet
  };

  /// Null: the end. While blocks are waiting they come first: under load, writes are whole.
  block* next(weft::receiver<block*> const& parsed) {
    while (gathering_) {
      if (auto const b = parsed.recv_for(due_ - weft::now())) return *b;
      else if (b.error() == weft::chan_status::closed) return nullptr;
      send_all();
    }
    return parsed.recv().value_or(nullptr);
  }

  block* take_turn() {
    block* const now = std::exchange(early_[next_ % early_.size()], nullptr);  // null: not parsed yet
    if (now != nullptr) ++next_;
    return now;
  }

  void route(block const& b) {
    for (record const& r : b.records) {
      target& t = target_of(r.service);
      t.text.append(r.text, r.size + 1);  // with its end
      if (t.text.size() >= write_bytes) send(t);
    }
    if (!gathering_ && !b.records.empty()) gathering_ = true, due_ = weft::now() + longest_gathering;
    job_.done.add(b.size, b.lines, b.below, b.malformed);
  }

  target& target_of(std::uint32_t service) {
    if (service >= targets_.size()) targets_.resize(service + 1);
    target& t = targets_[service];
    if (!t.full) {
      auto [tx, rx] = weft::make_ends<std::string>(2);
      output_file file = job_.folder.create(service, job_.names.name_of(service));
      group_.spawn({.name = "writer"}, write, std::move(file), std::move(rx), spare_);
      t.full = std::move(tx);
    }
    return t;
  }

  void send_all() {
    for (target& t : targets_) {
      if (!t.text.empty()) send(t);
    }
    gathering_ = false;
  }

  void send(target& t) {
    t.full.send(std::move(t.text));
    auto another = spare_.try_recv();
    t.text = another ? std::move(*another) : std::string();
  }

  job& job_;
  weft::task_group& group_;
  std::vector<block*> early_;  // by number, modulo their number: no two of the blocks that are about share a place
  std::uint64_t next_ = 0;     // the block whose turn it is
  std::vector<target> targets_;
  bool gathering_ = false;  // there may be lines that have not been sent
  weft::time_point due_{};  // of the first of them
  buffers spare_ = weft::make_chan<std::string>(16);
};

}  // namespace

void by_block(job& j, weft::task_group& g, weft::context until) {
  auto [filled, to_parse] = weft::make_ends<block*>(j.pool.size());
  auto [parsed, to_route] = weft::make_ends<block*>(j.pool.size());
  g.spawn({.name = "reader"}, read, std::ref(j), std::move(filled), std::move(until));
  for (std::size_t i = 0; i < j.parsers; ++i) g.spawn({.name = "parser"}, parse, std::ref(j), to_parse, parsed);
  g.spawn({.name = "router"}, [&j, &g, in = std::move(to_route)] { router(j, g).run(in); });
}

}  // namespace logs
