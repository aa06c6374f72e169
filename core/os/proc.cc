// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

namespace heca::os {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

template <class F>
void ForEachLine(std::string_view text, F&& f) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    f(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint64_t> Number(std::string_view text, int base) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return std::nullopt;
  text.remove_prefix(first);
  if (base == 16 && text.starts_with("0x")) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<Mapping> ParseMapsLine(std::string_view line) {
  // 7f00-7f10 rw-s 00000000 00:1b 4                          /dev/shm/a b (deleted)
  const std::string text(line);
  unsigned long start = 0, end = 0, offset = 0, inode = 0;
  unsigned major_number = 0, minor_number = 0;
  char mode[5] = {};
  int used = 0;
  if (std::sscanf(text.c_str(), "%lx-%lx %4s %lx %x:%x %lu%n", &start, &end, mode, &offset, &major_number,
                  &minor_number, &inode, &used) < 7) {
    return std::nullopt;
  }
  Mapping m;
  m.start = start;
  m.end = end;
  m.readable = mode[0] == 'r';
  m.writable = mode[1] == 'w';
  m.executable = mode[2] == 'x';
  m.shared = mode[3] == 's';
  m.offset = offset;
  m.device = makedev(major_number, minor_number);
  m.inode = inode;
  std::string_view path = line.substr(static_cast<std::size_t>(used));
  const std::size_t first = path.find_first_not_of(' ');
  path = first == std::string_view::npos ? std::string_view() : path.substr(first);
  if (m.inode != 0 && path.ends_with(kDeleted)) {
    m.deleted = true;
    path.remove_suffix(kDeleted.size());
  }
  m.path = path;
  return m;
}

std::string Path(pid_t pid, std::string_view rest) { return fmt::format("/proc/{}/{}", pid, rest); }

Result<std::vector<long>> ListNumbers(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  if (!dir) return Status::FromErrno(errno, "cannot list " + directory);
  std::vector<long> numbers;
  while (const dirent* entry = ::readdir(dir.get())) {
    long value = 0;
    const std::string_view name(entry->d_name);
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
    if (error == std::errc() && end == name.data() + name.size()) numbers.push_back(value);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<unique_fd> OpenReadWrite(const std::string& path, const Mapping& mapping) {
  unique_fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return Status::FromErrno(errno, "cannot open " + path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || info.st_ino != mapping.inode) {
    return Status(ErrorCode::kFailedPrecondition, path + " is no longer the file that was mapped there; try again");
  }
  return fd;
}

}  // namespace

std::vector<Mapping> ParseMaps(std::string_view text) {
  std::vector<Mapping> maps;
  ForEachLine(text, [&](std::string_view line) {
    if (auto m = ParseMapsLine(line)) maps.push_back(std::move(*m));
  });
  return maps;
}

std::vector<Mapping> ParseSmapsWithFlag(std::string_view text, std::string_view flag) {
  std::vector<Mapping> maps;
  Mapping current;
  const std::string wanted = " " + std::string(flag) + " ";
  ForEachLine(text, [&](std::string_view line) {
    if (line.starts_with("VmFlags:")) {
      if ((std::string(line) + " ").find(wanted) != std::string::npos) maps.push_back(current);
    } else if (auto m = ParseMapsLine(line)) {
      current = std::move(*m);
    }
  });
  return maps;
}

std::optional<std::uint64_t> ParseField(std::string_view text, std::string_view key, int base) {
  std::optional<std::uint64_t> value;
  ForEachLine(text, [&](std::string_view line) {
    if (!value && line.size() > key.size() && line.starts_with(key) && line[key.size()] == ':') {
      value = Number(line.substr(key.size() + 1), base);
    }
  });
  return value;
}

std::optional<std::uint64_t> ParseUffdFeatures(std::string_view text) {
  std::optional<std::uint64_t> features;
  ForEachLine(text, [&](std::string_view line) {
    if (!line.starts_with("API:")) return;
    const std::size_t version_end = line.find(':', 4);
    if (version_end != std::string_view::npos) features = Number(line.substr(version_end + 1), 16);
  });
  return features;
}

ProcessStatus ParseStatus(std::string_view text) {
  ProcessStatus status;
  ForEachLine(text, [&](std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    const std::string_view key = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    const std::size_t first = value.find_first_not_of(" \t");
    value = first == std::string_view::npos ? std::string_view() : value.substr(first);
    const std::uint64_t number = Number(value, 10).value_or(0);
    if (key == "Name") {
      status.name = value;
    } else if (key == "State" && !value.empty()) {
      status.state = value[0];
    } else if (key == "Tgid") {
      status.tgid = static_cast<pid_t>(number);
    } else if (key == "TracerPid") {
      status.tracer = static_cast<pid_t>(number);
    } else if (key == "Uid") {  // real, effective, saved, file system
      const std::size_t second = value.find_first_of(" \t");
      status.uid = static_cast<uid_t>(
          second == std::string_view::npos ? number : Number(value.substr(second), 10).value_or(0));
    } else if (key == "VmLck") {
      status.locked_bytes = number * 1024;
    } else if (key == "VmPin") {
      status.pinned_bytes = number * 1024;
    } else if (key == "VmSize") {
      status.has_memory = true;
    } else if (key == "Seccomp") {
      status.seccomp = static_cast<int>(number);
    }
  });
  return status;
}

std::optional<std::uint64_t> ParseStartTime(std::string_view stat) {
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  std::string_view rest = stat.substr(name_end + 1);
  for (int field = 2; field < 22; ++field) {  // each step drops the blank before the next field and that field
    const std::size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(blank + 1);
  }
  return Number(rest, 10);
}

TaskSyscall ParseTaskSyscall(std::string_view text) {
  TaskSyscall task;
  if (text.starts_with("running")) {
    task.kind = TaskSyscall::Kind::kRunning;
    return task;
  }
  const std::string copy(text);
  unsigned long args[3] = {};
  const int got = std::sscanf(copy.c_str(), "%ld 0x%lx 0x%lx 0x%lx", &task.number, &args[0], &args[1], &args[2]);
  if (got < 1) return task;
  task.kind = task.number < 0 ? TaskSyscall::Kind::kBlockedOutside : TaskSyscall::Kind::kBlocked;
  if (task.number >= 0) std::copy(std::begin(args), std::end(args), std::begin(task.args));
  return task;
}

Result<std::string> ReadSmallFile(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Status::FromErrno(errno, "cannot open " + path);
  std::string text;
  std::size_t used = 0;
  for (;;) {
    if (text.size() - used < 16384) text.resize(text.size() + 65536);
    const ssize_t got = ::read(fd.get(), text.data() + used, text.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "cannot read " + path);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  text.resize(used);
  return text;
}

Result<std::vector<Mapping>> ReadMaps(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, "maps")));
  return ParseMaps(text);
}

Result<std::vector<Mapping>> ReadLockedMaps(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, "smaps")));
  return ParseSmapsWithFlag(text, "lo");
}

Result<ProcessStatus> ReadStatus(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, "status")));
  return ParseStatus(text);
}

Result<ProcessStatus> ReadTaskStatus(pid_t pid, pid_t tid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, fmt::format("task/{}/status", tid))));
  return ParseStatus(text);
}

Result<std::uint64_t> ReadStartTime(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, "stat")));
  const auto ticks = ParseStartTime(text);
  if (!ticks) return Status(ErrorCode::kInternal, "no start time in " + Path(pid, "stat"));
  return *ticks;
}

Result<std::vector<std::string>> ReadCmdline(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, "cmdline")));
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

Result<std::vector<pid_t>> ListTasks(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::vector<long> numbers, ListNumbers(Path(pid, "task")));
  return std::vector<pid_t>(numbers.begin(), numbers.end());
}

std::vector<pid_t> ListProcesses() {
  const Result<std::vector<long>> numbers = ListNumbers("/proc");
  return numbers.ok() ? std::vector<pid_t>(numbers->begin(), numbers->end()) : std::vector<pid_t>();
}

Result<std::vector<OpenFile>> ListOpenFiles(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::vector<long> numbers, ListNumbers(Path(pid, "fd")));
  std::vector<OpenFile> files;
  for (const long fd : numbers) {
    char target[PATH_MAX];
    const ssize_t size = ::readlink(Path(pid, fmt::format("fd/{}", fd)).c_str(), target, sizeof target);
    if (size < 0) continue;  // closed meanwhile
    files.push_back({static_cast<int>(fd), std::string(target, static_cast<std::size_t>(size))});
  }
  return files;
}

Result<std::uint64_t> ReadFdFlags(pid_t pid, int fd) {
  const std::string path = Path(pid, fmt::format("fdinfo/{}", fd));
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  const auto flags = ParseField(text, "flags", 8);
  if (!flags) return Status(ErrorCode::kInternal, "no flags in " + path);
  return *flags;
}

Result<std::optional<std::uint64_t>> ReadUffdFeatures(pid_t pid, int fd) {
  const std::string path = Path(pid, fmt::format("fdinfo/{}", fd));
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  const auto features = ParseUffdFeatures(text);
  if (!features) return Status(ErrorCode::kInternal, path + " is no userfaultfd's");
  if ((*features & kUffdHandshaken) == 0) return std::optional<std::uint64_t>();
  return std::optional(*features & ~kUffdHandshaken);
}

Result<TaskSyscall> ReadTaskSyscall(pid_t pid, pid_t tid) {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(Path(pid, fmt::format("task/{}/syscall", tid))));
  return ParseTaskSyscall(text);
}

Result<std::uint64_t> ReadTaskReadCalls(pid_t pid, pid_t tid) {
  const std::string path = Path(pid, fmt::format("task/{}/io", tid));
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  const auto calls = ParseField(text, "syscr");
  if (!calls) return Status(ErrorCode::kUnsupported, "no syscr in " + path);
  return *calls;
}

Result<unique_fd> OpenMappedFile(pid_t pid, const Mapping& mapping) {
  Result<unique_fd> by_map =
      OpenReadWrite(Path(pid, fmt::format("map_files/{:x}-{:x}", mapping.start, mapping.end)), mapping);
  if (by_map.ok()) return by_map;
  HECA_ASSIGN_OR_RETURN(const std::vector<OpenFile> files, ListOpenFiles(pid));
  for (const OpenFile& file : files) {
    const std::string path = Path(pid, fmt::format("fd/{}", file.fd));
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || info.st_ino != mapping.inode || info.st_dev != mapping.device) continue;
    Result<unique_fd> by_fd = OpenReadWrite(path, mapping);
    if (by_fd.ok()) return by_fd;
  }
  return by_map.status().WithContext("the file mapped at that address cannot be opened (run as root)");
}

}  // namespace heca::os
