#include "runtime/observe/report.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <string_view>

#include "runtime/base/message.hpp"
#include "runtime/platform/symbols.hpp"

namespace weft::rt {
namespace {

template <class... A>
__attribute__((format(printf, 2, 0))) void append(std::string& to, char const* format, A... values) {
  char part[256];
  int const n = std::snprintf(part, sizeof part, format, values...);
  to.append(part, static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(sizeof part) - 1)));
}

std::string duration(std::int64_t ns) {
  std::string text;
  if (ns < 2 << 20) {
    text = "less than 3 ms";  // the stamps' steps
  } else if (ns < 1'000'000'000) {
    append(text, "%" PRId64 " ms", ns / 1'000'000);
  } else {
    append(text, "%" PRId64 ".%" PRId64 " s", ns / 1'000'000'000, ns / 100'000'000 % 10);
  }
  return text;
}

/// The runtime's own calls say nothing to a user: left out at both ends, unless nothing else is there.
bool is_inner(code_place const& p) {
  return p.function.starts_with("weft::rt::") || p.function == "weft::rt" || p.function.empty();
}

/// Nor do those by which a call waits: the same call may wait by several, and from several places of one.
bool is_way_to_wait(code_place const& p) {
  return p.function.starts_with("weft::detail::(anonymous namespace)::") ||
         p.function.starts_with("weft::detail::chan_") || p.function.starts_with("weft::detail::note_order_");
}

std::string text_of_calls(std::vector<void*> const& addresses, symbols& names) {
  std::string to;
  std::vector<code_place> calls;
  calls.reserve(addresses.size());
  // A return address may be the first of the next function, if the call never returns: the call itself is before it.
  for (void* const address : addresses) calls.push_back(names.find(static_cast<char const*>(address) - 1));
  std::size_t first = 0;
  std::size_t last = calls.size();
  while (first < last && (is_inner(calls[first]) || is_way_to_wait(calls[first]))) ++first;
  while (last > first && is_inner(calls[last - 1])) --last;
  if (first == last) {
    first = 0;
    last = calls.size();
  }
  for (std::size_t i = first; i < last; ++i) {
    code_place const& c = calls[i];
    append(to, "    #%-2zu ", i - first);
    if (c.function.empty()) append(to, "%p", addresses[i]);
    else to += c.function;
    if (!c.module.empty()) append(to.append(" in ").append(c.module), " +0x%" PRIxPTR, c.offset);
    to += '\n';
  }
  return to;
}

char const* state_name(task_state s) noexcept {
  switch (s) {
    case task_state::not_begun: return "has not begun";
    case task_state::running: return "running";
    case task_state::ready: return "ready to go on";
    case task_state::parked: return "parked";
  }
  return "";
}

}  // namespace

std::string who(task_id id, std::string const& name, char const* file, unsigned line) {
  std::string text;
  append(text, "task %" PRIu64, id);
  if (!name.empty()) {
    text.append(" \"");
    for (char const c : name) text += on_the_line(c);
    text += '"';
  }
  if (file != nullptr) append(text.append(", spawned at ").append(file), ":%u", line);
  return text;
}

std::string describe_calls(std::vector<void*> const& addresses) {
  symbols names;
  return text_of_calls(addresses, names);
}

std::string describe(task_entry const& e) {
  std::string text = who(e.id, e.name, e.file, e.line) + ": ";
  if (e.state != task_state::parked) return text.append(state_name(e.state)).append(e.blocks ? " weft::blocking" : "");
  text.append("waits on ").append(wait_reason_name(e.reason));
  if (e.joins != 0) append(text, " of task %" PRIu64, e.joins);
  else if (e.object != nullptr) append(text, " %p", e.object);
  else if (waits_on_nil(e)) text.append(e.reason == wait_reason::select ? " (no channel but nil)" : " (nil channel)");
  text.append(", for ").append(duration(e.waited_ns));
  if (e.left_ns != never) text.append(", at most ").append(duration(e.left_ns)).append(" more");
  return text;
}

std::string describe(census const& c) {
  std::array<std::size_t, 4> count{};
  symbols names;
  std::map<std::string, std::size_t> known;  // calls, as they are shown -> their group
  std::vector<std::size_t> group_of;         // of a trace
  for (auto const& trace : c.traces)
    group_of.push_back(known.emplace(text_of_calls(trace, names), known.size()).first->second);
  std::vector<std::vector<task_entry const*>> groups(known.size() + 1);  // the last: without a stack
  for (task_entry const& e : c.tasks) {
    ++count[static_cast<std::size_t>(e.state)];
    groups[e.trace != task_entry::no_trace ? group_of[e.trace] : known.size()].push_back(&e);
  }
  std::vector<std::string const*> calls(groups.size());
  for (auto const& [shown, group] : known) calls[group] = &shown;
  std::string text;
  append(text, "weft: %zu task%s", c.tasks.size(), c.tasks.size() == 1 ? "" : "s");
  char const* between = ": ";
  for (task_state const s : {task_state::running, task_state::ready, task_state::not_begun, task_state::parked}) {
    std::size_t const n = count[static_cast<std::size_t>(s)];
    if (n == 0) continue;
    append(text, "%s%zu %s", between, n,
           s == task_state::ready       ? "ready"
           : s == task_state::not_begun ? "not begun"
                                        : state_name(s));
    between = ", ";
  }
  text += '\n';
  std::sort(groups.begin(), groups.end(), [](auto const& a, auto const& b) {
    return a.size() != b.size() ? a.size() > b.size() : !a.empty() && a.front()->id < b.front()->id;
  });
  for (auto const& group : groups) {
    if (group.empty()) continue;
    std::size_t const trace = group.front()->trace;
    text += '\n';
    if (group.size() > 1 && trace != task_entry::no_trace)
      append(text, "  %zu tasks in the same calls\n", group.size());
    for (task_entry const* e : group) text.append("  ").append(describe(*e)).append("\n");
    if (trace != task_entry::no_trace) text += *calls[group_of[trace]];
  }
  return text;
}

}  // namespace weft::rt
