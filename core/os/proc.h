// SPDX-License-Identifier: LGPL-2.1-or-later
// What /proc tells about a process. Parsers are pure functions of text, readers are one open and read of a file.
// Thread-safe. A reader of a process that has ended fails with kNotFound; reading never waits for the process
// (nor for a page fault of it), so a reader may run on any thread except the fault loop (maps costs up to 1 ms).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::os {

/// One line of /proc/PID/maps.
struct Mapping {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  std::uint64_t offset = 0;  ///< of the file, in bytes
  dev_t device = 0;
  ino_t inode = 0;    ///< 0: no file
  std::string path;   ///< as printed; " (deleted)" is cut off and told by `deleted`
  bool deleted = false;

  [[nodiscard]] std::uint64_t size() const { return end - start; }
};

/// The fields of /proc/PID/status that Heca uses.
struct ProcessStatus {
  std::string name;
  char state = '?';  ///< R S D T t Z X I
  pid_t tgid = 0;
  pid_t tracer = 0;  ///< 0: not traced
  uid_t uid = 0;     ///< effective
  std::uint64_t locked_bytes = 0;  ///< VmLck: mlock()
  std::uint64_t pinned_bytes = 0;  ///< VmPin: registered buffers, RDMA, VFIO
  int seccomp = 0;                 ///< 0 off, 1 strict, 2 filter
  bool has_memory = false;         ///< false for kernel threads and zombies
};

/// What a thread is doing, from /proc/PID/task/TID/syscall.
struct TaskSyscall {
  enum class Kind : std::uint8_t { kInvalid = 0, kRunning = 1, kBlocked = 2, kBlockedOutside = 3 };
  Kind kind = Kind::kInvalid;  ///< kBlockedOutside: asleep, but not in a system call (a page fault)
  long number = -1;            ///< the system call, where kBlocked
  std::uint64_t args[3] = {};  ///< its first arguments
};

struct OpenFile {
  int fd = -1;
  std::string target;  ///< what /proc/PID/fd/N points to: a path, "anon_inode:[userfaultfd]", "socket:[1]"
};

[[nodiscard]] std::vector<Mapping> ParseMaps(std::string_view text);
[[nodiscard]] ProcessStatus ParseStatus(std::string_view text);
/// The 22nd field of /proc/PID/stat, in clock ticks since boot; the name in it may hold spaces and parentheses.
[[nodiscard]] std::optional<std::uint64_t> ParseStartTime(std::string_view stat);
[[nodiscard]] TaskSyscall ParseTaskSyscall(std::string_view text);
/// Value of "key:" in the text of a fdinfo or io file, in the given base.
[[nodiscard]] std::optional<std::uint64_t> ParseField(std::string_view text, std::string_view key, int base = 10);
/// The features of a userfaultfd from the text of its fdinfo ("API: aa:FEATURES:IOCTLS"), with kUffdHandshaken.
[[nodiscard]] std::optional<std::uint64_t> ParseUffdFeatures(std::string_view text);
/// Set by the kernel itself once UFFDIO_API was done (UFFD_FEATURE_INITIALIZED of fs/userfaultfd.c).
inline constexpr std::uint64_t kUffdHandshaken = std::uint64_t{1} << 31;
/// Mappings of smaps text that carry the VmFlag `flag` ("lo": locked).
[[nodiscard]] std::vector<Mapping> ParseSmapsWithFlag(std::string_view text, std::string_view flag);

/// A whole small file; `path` may be of /proc or any other.
[[nodiscard]] Result<std::string> ReadSmallFile(const std::string& path);

[[nodiscard]] Result<std::vector<Mapping>> ReadMaps(pid_t pid);
/// Costs a walk of the page tables: only where VmLck says that something is locked.
[[nodiscard]] Result<std::vector<Mapping>> ReadLockedMaps(pid_t pid);
[[nodiscard]] Result<ProcessStatus> ReadStatus(pid_t pid);
[[nodiscard]] Result<ProcessStatus> ReadTaskStatus(pid_t pid, pid_t tid);
/// With the pid it names a process for all time since boot.
[[nodiscard]] Result<std::uint64_t> ReadStartTime(pid_t pid);
[[nodiscard]] Result<std::vector<std::string>> ReadCmdline(pid_t pid);
[[nodiscard]] Result<std::vector<pid_t>> ListTasks(pid_t pid);
[[nodiscard]] Result<std::vector<OpenFile>> ListOpenFiles(pid_t pid);
[[nodiscard]] std::vector<pid_t> ListProcesses();
/// The open(2) flags of descriptor `fd` of the process (O_DIRECT and the like), from fdinfo.
[[nodiscard]] Result<std::uint64_t> ReadFdFlags(pid_t pid, int fd);
/// Features that UFFDIO_API gave the process's userfaultfd `fd`; nullopt: it was not done, so nothing is registered.
[[nodiscard]] Result<std::optional<std::uint64_t>> ReadUffdFeatures(pid_t pid, int fd);
[[nodiscard]] Result<TaskSyscall> ReadTaskSyscall(pid_t pid, pid_t tid);
/// Completed read system calls of a thread (syscr of its io file): counted at the end of each read, pread, readv,
/// preadv; a thread that is inside one has not counted it yet.
[[nodiscard]] Result<std::uint64_t> ReadTaskReadCalls(pid_t pid, pid_t tid);

/// Opens the file behind a mapping of the process for reading and writing: by /proc/PID/map_files (works for
/// deleted files; needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE), else by a descriptor of the process with the same
/// device and inode.
[[nodiscard]] Result<unique_fd> OpenMappedFile(pid_t pid, const Mapping& mapping);

}  // namespace heca::os
