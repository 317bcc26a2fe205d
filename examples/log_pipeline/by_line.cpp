// A message is a line.
//
//   reader -> lines -> parsers -> one channel a service -> writers
//
// Lines are sent one by one; who receives takes what is there, so that a task is not woken for each. A line points into its
// block, which is free again when its last line has been written or dropped (block_pool::leave). With more than one parser a
// file's lines are those of the other pipeline, but not in the input's order.
#include "pipeline.hpp"

#include <weft/chan.hpp>
#include <weft/guarded.hpp>
#include <weft/time.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace logs {

namespace {

struct line {
  block* from;
  record text;
};
constexpr std::size_t at_once = 128;

/// Says of lines that they are done, in as few atomic operations as there are blocks among them.
class leaving {
 public:
  explicit leaving(block_pool const& pool) : pool_(pool) {}
  ~leaving() { flush(); }
  leaving(leaving const&) = delete;
  leaving& operator=(leaving const&) = delete;
  void one(block* b) {
    if (b != block_) flush(), block_ = b;
    ++n_;
  }
  void flush() {
    if (n_ != 0) pool_.leave(block_, std::exchange(n_, 0));
  }

 private:
  block_pool const& pool_;
  block* block_ = nullptr;
  std::uint32_t n_ = 0;
};

/// What is there for a writer, whose channel it is alone. With a text that has been gathered, only until then; ok,
/// closed or timeout.
weft::chan_status take(weft::receiver<line> const& in, std::vector<line>& batch, bool gathering,
                       weft::time_point until) {
  if (gathering) {
    auto const first = in.recv_for(until - weft::now());
    if (!first) return first.error();
    batch.push_back(*first);
    if (in.size() == 0) return weft::chan_status::ok;
  }
  return in.recv_many(batch, at_once) != 0 ? weft::chan_status::ok : weft::chan_status::closed;
}

void write(job& j, output_file file, weft::receiver<line> in) {
  std::vector<line> batch;
  std::string text;
  weft::time_point due{};  // of what is in `text`
  for (;;) {
    auto const got = take(in, batch, !text.empty(), due);
    if (got == weft::chan_status::closed) break;
    if (text.empty()) due = weft::now() + longest_gathering;
    leaving done(j.pool);
    for (line const& l : batch) {
      text.append(l.text.text, l.text.size + 1);  // with its end
      done.one(l.from);
    }
    batch.clear();
    if (got == weft::chan_status::timeout || text.size() >= write_bytes) file.write(text), text.clear();
  }
  file.write(text);
}

/// The channel of each service, made with its writer when the first line comes for it. The last of the reader and the
/// parsers to go closes them all.
class writers {
 public:
  writers(job& j, weft::task_group& g) : job_(j), group_(g) {}
  weft::sender<line> of(std::uint32_t service) {
    auto const all = channels_.lock();
    if (service >= all->size()) all->resize(service + 1);
    weft::sender<line>& tx = (*all)[service];
    if (!tx) {
      auto ends = weft::make_ends<line>(1024);
      output_file file = job_.folder.create(service, job_.names.name_of(service));  // under the lock
      group_.spawn({.name = "writer"}, write, std::ref(job_), std::move(file), std::move(ends.rx));
      tx = std::move(ends.tx);
    }
    return tx;
  }

 private:
  job& job_;
  weft::task_group& group_;
  weft::guarded<std::vector<weft::sender<line>>> channels_;
};

/// A piece of a line that is too long goes to the writer past the parsers, of which several could change the pieces'
/// order or get lines between them. All lines before the first piece are with their writers once their blocks have come
/// back.
void send_piece(job& j, block* b, bool first, weft::sender<line> const& rejected) {
  std::vector<block*> others;
  while (first && others.size() < j.pool.size() - 1) others.push_back(j.pool.take());
  for (block* const other : others) j.pool.give(other);
  bool const last = b->text().ends_with('\n');
  j.done.add(b->size, last ? 1 : 0, 0, last ? 1 : 0);
  b->owed.store(1, std::memory_order_relaxed);
  rejected.send({b, b->as_record()});
}

void read(job& j, weft::sender<line> lines, std::shared_ptr<writers> all, weft::context until) {
  // A block owes this many until the reader knows how many lines it has: so that it is not freed by those who are
  // faster.
  constexpr std::uint32_t unknown = 1U << 31;
  bool within_line = false;
  while (block* const b = next_block(j, until)) {
    if (b->piece) {
      bool const first = !std::exchange(within_line, !b->text().ends_with('\n'));
      send_piece(j, b, first, all->of(service_names::malformed));
      continue;
    }
    std::uint32_t n = 0;
    b->owed.store(unknown, std::memory_order_relaxed);  // ordered by the channel's sends
    each_line(b->text(), [&](std::string_view text) {
      lines.send({b, {text.data(), static_cast<std::uint32_t>(text.size()), 0}});
      ++n;
    });
    j.pool.leave(b, unknown - n);
  }
}

void parse(job& j, weft::receiver<line> lines, std::shared_ptr<writers> all) {
  line_parser parser(j.names, j.least);
  std::vector<weft::sender<line>> known;
  std::vector<line> batch;
  while (lines.recv_many(batch, at_once) != 0) {
    std::uint64_t bytes = 0, below = 0, malformed = 0;
    leaving done(j.pool);
    for (line& l : batch) {
      verdict const v = parser.parse(l.text.view());
      bytes += l.text.size + 1;
      if (v.is == verdict::below) {
        ++below;
        done.one(l.from);
        continue;
      }
      if (v.is == verdict::malformed) ++malformed;
      if (v.service >= known.size()) known.resize(v.service + 1);
      weft::sender<line>& to = known[v.service];
      if (!to) to = all->of(v.service);
      to.send(l);
    }
    j.done.add(bytes, batch.size(), below, malformed);
    batch.clear();
  }
}

}  // namespace

void by_line(job& j, weft::task_group& g, weft::context until) {
  auto [tx, rx] = weft::make_ends<line>(1024);
  auto const all = std::make_shared<writers>(j, g);
  g.spawn({.name = "reader"}, read, std::ref(j), std::move(tx), all, std::move(until));
  for (std::size_t i = 0; i < j.parsers; ++i) g.spawn({.name = "parser"}, parse, std::ref(j), rx, all);
}

}  // namespace logs
