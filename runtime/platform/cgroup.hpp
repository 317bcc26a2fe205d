// What a Linux control group allows, read from file contents that the caller supplies: pure text work, so that tests
// can put any machine before it.
//
// A quota holds for a group and everything below it, so the least one from the process's group up to the mounted root
// counts. In a container the group's path may begin above what is mounted; mountinfo's root field says what to cut off.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace weft::rt {

// Gives a file's content, or nothing if it cannot be read.
using file_reader = std::function<std::optional<std::string>(std::string const& path)>;

// "max 100000" or "150000 100000": processors' worth of time; nothing if unlimited or unreadable.
std::optional<double> parse_cpu_max(std::string const& content);

// Processors' worth of CPU time: v2 cpu.max or v1 cpu.cfs_quota_us / cpu.cfs_period_us, whichever is least.
std::optional<double> cgroup_cpu_limit(file_reader const& read);

// The least pids.max on the way up.
std::optional<unsigned long> cgroup_thread_limit(file_reader const& read);

// A quota as a number of workers: rounded up, at least 1, at most `available`.
unsigned workers_for(unsigned available, std::optional<double> limit) noexcept;

}  // namespace weft::rt
