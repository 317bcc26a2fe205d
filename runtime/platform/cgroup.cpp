// See cgroup.hpp.
//
//   G1  /proc/self/cgroup names our group in each hierarchy: "0::/path" (v2), "4:cpu,cpuacct:/path" (v1).
//   G2  /proc/self/mountinfo says where the hierarchy is mounted and which of its groups (root) the mount shows.
//   G3  Our group's folder is the mount point plus the path without that root.
//   G4  Read the limit there and in each folder above, up to the mount point.
#include "runtime/platform/cgroup.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace weft::rt {
namespace {

struct hierarchy {
  std::string mount_point;
  std::string path;  // of our group below the mount point: "" or "/a/b"
};

bool has_item(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    std::size_t const comma = list.find(',');
    if (list.substr(0, comma) == item) return true;
    if (comma == list.npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

/// The first item of `text` up to `end`, which is cut off with it.
std::string_view cut(std::string_view& text, char end) {
  std::size_t const at = text.find(end);
  std::string_view const item = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + 1);
  return item;
}

/// A file of /proc costs the kernel more than reading it costs us: each is read once.
class memberships {
 public:
  explicit memberships(file_reader const& read)
      : cgroup_(read("/proc/self/cgroup")), mounts_(read("/proc/self/mountinfo")) {}

  /// An empty controller asks for v2.
  [[nodiscard]] std::optional<hierarchy> find(std::string_view controller) const;

 private:
  [[nodiscard]] std::optional<std::string_view> our_group(std::string_view controller) const;

  std::optional<std::string> cgroup_, mounts_;
};

// G1
std::optional<std::string_view> memberships::our_group(std::string_view controller) const {
  for (std::string_view lines = *cgroup_; !lines.empty();) {
    std::string_view line = cut(lines, '\n');
    bool const v2 = line.starts_with("0::");
    if (std::count(line.begin(), line.end(), ':') < 2) continue;
    (void)cut(line, ':');
    std::string_view const names = cut(line, ':');
    if (controller.empty() ? v2 : has_item(names, controller)) return line;
  }
  return std::nullopt;
}

// G2, G3. A line: id parent major:minor root mount-point options [fields] - type source super-options
std::optional<hierarchy> memberships::find(std::string_view controller) const {
  if (!cgroup_ || !mounts_) return std::nullopt;
  auto const group = our_group(controller);
  if (!group) return std::nullopt;

  for (std::string_view lines = *mounts_; !lines.empty();) {
    std::string_view left = cut(lines, '\n');
    std::size_t const dash = left.find(" - ");
    if (dash == left.npos) continue;
    std::string_view right = left.substr(dash + 3);
    std::string_view const type = cut(right, ' ');
    (void)cut(right, ' ');
    if (controller.empty() ? type != "cgroup2" : (type != "cgroup" || !has_item(right, controller))) continue;
    for (int skip = 0; skip < 3; ++skip) (void)cut(left, ' ');
    std::string const root(cut(left, ' '));
    std::string_view const mount_point = cut(left, ' ');

    std::string path(*group);
    if (root != "/" && (path == root || path.starts_with(root + "/"))) path.erase(0, root.size());
    while (!path.empty() && path.back() == '/') path.pop_back();
    // A path through ".." lies outside what the mount shows (a namespace entered from without): the mount is all
    // that can be read.
    if (path.find("/..") != path.npos) path.clear();
    return hierarchy{std::string(mount_point), path};
  }
  return std::nullopt;
}

// G4. The least of what `limit_in(folder)` gives.
template <class T, class LimitIn>
std::optional<T> least_upwards(hierarchy const& in, LimitIn limit_in) {
  std::optional<T> least;
  for (std::string path = in.path;;) {
    if (auto const limit = limit_in(in.mount_point + path)) least = std::min(least.value_or(*limit), *limit);
    if (path.empty()) return least;
    path.erase(path.rfind('/'));
  }
}

/// The number that `text` begins with, which is cut off with the space before it. The kernel writes whole numbers.
std::optional<std::int64_t> cut_number(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::int64_t number = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

std::optional<std::int64_t> parse_number(std::optional<std::string> const& content) {
  if (!content) return std::nullopt;
  std::string_view text = *content;
  return cut_number(text);
}

/// Nothing: unlimited, of which -1 is v1's way to say it.
std::optional<double> ratio(std::int64_t quota, std::int64_t period) noexcept {
  if (quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<double>(quota) / static_cast<double>(period);
}

}  // namespace

std::optional<double> parse_cpu_max(std::string const& content) {
  std::string_view text = content;
  auto const quota = cut_number(text);
  if (!quota) return std::nullopt;                           // "max"
  return ratio(*quota, cut_number(text).value_or(100'000));  // what the kernel uses where none is written
}

std::optional<double> cgroup_cpu_limit(file_reader const& read) {
  std::optional<double> least;
  memberships const ours(read);
  if (auto const v2 = ours.find("")) {
    least = least_upwards<double>(*v2, [&](std::string const& folder) -> std::optional<double> {
      auto const content = read(folder + "/cpu.max");
      return content ? parse_cpu_max(*content) : std::nullopt;
    });
  }
  if (auto const v1 = ours.find("cpu")) {
    auto const limit = least_upwards<double>(*v1, [&](std::string const& folder) -> std::optional<double> {
      auto const quota = parse_number(read(folder + "/cpu.cfs_quota_us"));
      auto const period = parse_number(read(folder + "/cpu.cfs_period_us"));
      return quota && period ? ratio(*quota, *period) : std::nullopt;
    });
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

std::optional<unsigned long> cgroup_thread_limit(file_reader const& read) {
  std::optional<unsigned long> least;
  memberships const ours(read);
  for (char const* const controller : {"", "pids"}) {
    auto const found = ours.find(controller);
    if (!found) continue;
    auto const limit =
        least_upwards<unsigned long>(*found, [&](std::string const& folder) -> std::optional<unsigned long> {
          auto const number = parse_number(read(folder + "/pids.max"));
          return number ? std::optional(static_cast<unsigned long>(*number)) : std::nullopt;
        });
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

unsigned workers_for(unsigned available, std::optional<double> limit) noexcept {
  unsigned workers = std::max(available, 1U);
  if (limit && *limit < workers) {
    auto const whole = static_cast<unsigned>(*limit);
    workers = std::max(1U, whole + (*limit > whole ? 1U : 0U));
  }
  return workers;
}

}  // namespace weft::rt
