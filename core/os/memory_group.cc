// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/memory_group.h"

#include <charconv>
#include <cstdint>
#include <sstream>

#include "os/proc.h"

namespace heca::os {
namespace {

/// Where the groups are, and where in there the process's group is.
struct Place {
  bool version2 = false;
  std::string mount;
  std::string group;  ///< "/a/b", or "/"
};

bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

/// "4:memory:/a/b" (version 1), "0::/a/b" (version 2). A memory controller of version 1 is the one in force.
Place GroupOf(std::string_view cgroup) {
  Place place;
  std::istringstream lines{std::string(cgroup)};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version1 = HasWord(controllers, "memory");
    if (!version1 && (!controllers.empty() || !place.group.empty())) continue;
    place = {!version1, "", line.substr(second + 1)};
    if (version1) break;
  }
  return place;
}

/// "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory".
std::string MountOf(bool version2, std::string_view mountinfo) {
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash));
    std::istringstream back(line.substr(dash + 3));
    std::string ignored, mount, type, source, options;
    front >> ignored >> ignored >> ignored >> ignored >> mount;
    back >> type >> source >> options;
    if (version2 ? type == "cgroup2" : type == "cgroup" && HasWord(options, "memory")) return mount;
  }
  return {};
}

std::optional<std::uint64_t> ReadNumber(const std::string& path) {
  const auto text = ReadSmallFile(path);
  std::uint64_t value = 0;
  if (!text.ok()) return std::nullopt;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;  // "max"
  return value;
}

std::uint64_t StatField(std::string_view stat, const std::string& name) {
  std::istringstream lines{std::string(stat)};
  std::string key;
  for (std::uint64_t value = 0; lines >> key >> value;) {
    if (key == name) return value;
  }
  return 0;
}

std::optional<MemoryGroup> Read(const std::string& directory, bool version2) {
  constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 62;  // version 1 says so by a number of pages near 2^63
  const auto limit = ReadNumber(directory + (version2 ? "/memory.max" : "/memory.limit_in_bytes"));
  const auto used = ReadNumber(directory + (version2 ? "/memory.current" : "/memory.usage_in_bytes"));
  const auto stat = ReadSmallFile(directory + "/memory.stat");
  if (!limit || *limit >= kNoLimit || !used || !stat.ok()) return std::nullopt;
  const std::string prefix = version2 ? "" : "total_";
  const std::uint64_t cache = StatField(*stat, prefix + "active_file") + StatField(*stat, prefix + "inactive_file");
  return MemoryGroup{directory, Bytes(*limit), Bytes(*used - std::min(*used, cache)),
                     Bytes(StatField(*stat, prefix + "shmem"))};
}

}  // namespace

std::optional<MemoryGroup> TightestMemoryGroup(std::string_view cgroup, std::string_view mountinfo) {
  Place place = GroupOf(cgroup);
  place.mount = MountOf(place.version2, mountinfo);
  if (place.mount.empty() || !place.group.starts_with('/')) return std::nullopt;
  std::optional<MemoryGroup> tightest;
  for (std::string group = place.group; !group.empty(); group.resize(group.rfind('/'))) {
    auto found = Read(place.mount + group, place.version2);
    if (found && (!tightest || found->Room() < tightest->Room())) tightest = std::move(found);
  }
  return tightest;
}

std::optional<MemoryGroup> TightestMemoryGroup(pid_t pid) {
  const auto cgroup = ReadSmallFile("/proc/" + std::to_string(pid) + "/cgroup");
  const auto mountinfo = ReadSmallFile("/proc/self/mountinfo");
  if (!cgroup.ok() || !mountinfo.ok()) return std::nullopt;
  return TightestMemoryGroup(*cgroup, *mountinfo);
}

}  // namespace heca::os
