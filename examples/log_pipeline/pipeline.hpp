// The two pipelines, and what they share. by_block.cpp and by_line.cpp say how each is built.
#pragma once

#include "block.hpp"
#include "event.hpp"
#include "output.hpp"
#include "source.hpp"

#include <weft/context.hpp>
#include <weft/task_group.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace logs {

/// Written by one stage or by several, read while they run by the progress bar and afterwards by main. Relaxed: each is only a
/// number, and the end of the group orders what main reads.
struct counts {
  std::atomic<std::uint64_t> bytes{0}, lines{0}, below{0}, malformed{0}, kept{0};
  std::atomic<bool> interrupted{false};

  void add(std::uint64_t of_bytes, std::uint64_t of_lines, std::uint64_t of_below, std::uint64_t of_malformed) {
    bytes.fetch_add(of_bytes, std::memory_order_relaxed);
    lines.fetch_add(of_lines, std::memory_order_relaxed);
    below.fetch_add(of_below, std::memory_order_relaxed);
    malformed.fetch_add(of_malformed, std::memory_order_relaxed);
    kept.fetch_add(of_lines - of_below - of_malformed, std::memory_order_relaxed);
  }
};

struct job {
  job(line_source& from, output_folder& to, level keep, std::size_t parser_tasks)
      : source(from), folder(to), least(keep), parsers(parser_tasks), pool(2 * parser_tasks + 6) {}

  line_source& source;
  output_folder& folder;
  level least;
  std::size_t parsers;
  block_pool pool;
  service_names names;
  counts done;
};

/// The reader's step: the input's next block; null: it has ended, or `until` has. Waits.
[[nodiscard]] block* next_block(job& j, weft::context const& until);

/// Each spawns its stages into the group, whose end is theirs; the first exception of one ends all. `until` ends the reading, and
/// what has been read by then goes through to the end.
void by_block(job&, weft::task_group&, weft::context until);
void by_line(job&, weft::task_group&, weft::context until);

}  // namespace logs
