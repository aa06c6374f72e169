// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/capture.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "base/log.h"
#include "os/inject.h"
#include "os/pidfd.h"
#include "os/proc.h"

namespace heca::guest {
namespace {

constexpr const char* kDevice = "/dev/userfaultfd";
constexpr const char* kUffdLink = "anon_inode:[userfaultfd]";
/// _IO(UFFDIO, 0), Linux 6.1; the headers of Debian 12 have it only from 6.1 on.
constexpr std::uint64_t kIocNew = _IO(0xAA, 0x00);
constexpr std::uint64_t kUffdFlags = O_CLOEXEC | O_NONBLOCK;

/// Descriptors of the process that are the character device `rdev`.
Result<std::vector<int>> ListDeviceFds(pid_t pid, dev_t rdev) {
  HECA_ASSIGN_OR_RETURN(const std::vector<os::OpenFile> files, os::ListOpenFiles(pid));
  std::vector<int> fds;
  for (const os::OpenFile& file : files) {
    struct stat info {};
    if (::stat(fmt::format("/proc/{}/fd/{}", pid, file.fd).c_str(), &info) == 0 && S_ISCHR(info.st_mode) &&
        info.st_rdev == rdev) {
      fds.push_back(file.fd);
    }
  }
  return fds;
}

/// hecad's /dev/userfaultfd inside QEMU for as long as this object lives.
class LentDevice {
 public:
  static Result<LentDevice> Lend(pid_t pid, Qmp& qmp, Deadline deadline) {
    const unique_fd device(::open(kDevice, O_RDWR | O_CLOEXEC));
    if (!device) {
      return Status::FromErrno(errno, fmt::format("cannot open {} (Linux 6.1 or newer, as root)", kDevice));
    }
    struct stat info {};
    if (::fstat(device.get(), &info) != 0) return Status::FromErrno(errno, "fstat");
    HECA_ASSIGN_OR_RETURN(const std::vector<int> before, ListDeviceFds(pid, info.st_rdev));
    LentDevice lent(&qmp, fmt::format("heca-uffd-{}", ::getpid()), deadline);
    const Status sent = qmp.Execute("getfd", {{"fdname", lent.name_}}, deadline, device.get()).status();
    if (!sent.ok()) return sent.WithContext("passing /dev/userfaultfd to QEMU");
    lent.taken_ = true;
    HECA_ASSIGN_OR_RETURN(const std::vector<int> after, ListDeviceFds(pid, info.st_rdev));
    for (const int fd : after) {
      if (std::find(before.begin(), before.end(), fd) == before.end()) {
        lent.number_ = fd;
        return lent;
      }
    }
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("the QMP socket {} does not belong to process {}: a descriptor passed to it did not "
                              "arrive there", qmp.SocketPath(), pid));
  }
  LentDevice(LentDevice&& other) noexcept
      : qmp_(other.qmp_), name_(std::move(other.name_)), deadline_(other.deadline_), taken_(other.taken_),
        number_(other.number_) {
    other.taken_ = false;
  }
  LentDevice& operator=(LentDevice&&) = delete;
  ~LentDevice() {
    if (!taken_) return;
    const Status closed = qmp_->Execute("closefd", {{"fdname", name_}}, deadline_).status();
    if (!closed.ok()) Log().warn("QEMU keeps a {} of ours: {}", kDevice, closed.ToString());
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  LentDevice(Qmp* qmp, std::string name, Deadline deadline) : qmp_(qmp), name_(std::move(name)), deadline_(deadline) {}
  Qmp* qmp_;
  std::string name_;
  Deadline deadline_;
  bool taken_ = false;
  int number_ = -1;
};

Status ErrorOfCall(pid_t pid, long value, bool by_device) {
  const int error = static_cast<int>(-value);
  if (by_device) return Status::FromErrno(error, fmt::format("USERFAULTFD_IOC_NEW in process {}", pid));
  if (error == EPERM) {
    return Status(ErrorCode::kPermissionDenied,
                  fmt::format("process {} may not make a userfaultfd that serves kernel accesses: it has no "
                              "CAP_SYS_PTRACE and vm.unprivileged_userfaultfd is 0. For a QEMU give it a second QMP "
                              "socket (-chardev socket,id=heca,path=/run/heca/qmp/UUID.sock,server=on,wait=off -mon "
                              "chardev=heca,mode=control); for another process run it with CAP_SYS_PTRACE or set "
                              "sysctl vm.unprivileged_userfaultfd=1", pid),
                  ErrorScope::kRegion, error);
  }
  return Status::FromErrno(error, fmt::format("userfaultfd in process {}", pid));
}

Status CheckSame(ProcessId process) {
  HECA_ASSIGN_OR_RETURN(const ProcessId now, IdentifyProcess(process.pid));
  if (now == process) return Status();
  return Status(ErrorCode::kNotFound,
                fmt::format("process {} has ended; its pid belongs to another process now", process.pid));
}

Result<CapturedUffd> CopyOut(ProcessId process, unique_fd pidfd, int target_fd, Nanos stop) {
  CapturedUffd captured;
  HECA_ASSIGN_OR_RETURN(captured.uffd, os::PidfdGetfd(pidfd, target_fd));
  char link[64] = {};
  const ssize_t size = ::readlink(fmt::format("/proc/self/fd/{}", captured.uffd.get()).c_str(), link, sizeof link - 1);
  if (size < 0 || std::strcmp(link, kUffdLink) != 0) {
    return Status(ErrorCode::kNotFound, fmt::format("descriptor {} of process {} is no userfaultfd but {}", target_fd,
                                                    process.pid, link));
  }
  captured.target_fd = target_fd;
  captured.pidfd = std::move(pidfd);
  captured.process = process;
  captured.stop = stop;
  return captured;
}

/// Somebody in this very process has captured it and will use it. Each userfaultfd has an inode of its own; on a kernel
/// where they share one the answer is yes too often, which is the safe side.
bool HeldHere(pid_t pid, int fd) {
  struct stat theirs {};
  if (::stat(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), &theirs) != 0) return true;
  const Result<std::vector<int>> own = ListUffds(::getpid());
  return !own.ok() || std::any_of(own->begin(), own->end(), [&theirs](int mine) {
    struct stat ours {};
    return ::fstat(mine, &ours) == 0 && ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
  });
}

/// Closes what was made and never used; refuses what is in use.
Status ClearTheWay(ProcessId process, const std::vector<int>& existing, Deadline deadline) {
  std::vector<int> unused;
  for (const int fd : existing) {
    HECA_ASSIGN_OR_RETURN(const auto features, os::ReadUffdFeatures(process.pid, fd));
    if (features || HeldHere(process.pid, fd)) {
      return {ErrorCode::kAlreadyExists,
              fmt::format("process {} has a userfaultfd already (descriptor {}): take it over, or detach what governs "
                          "this memory", process.pid, fd)};
    }
    unused.push_back(fd);
  }
  for (const int fd : unused) {
    Log().warn("process {} has a userfaultfd that was never used (descriptor {}): closing it", process.pid, fd);
    HECA_RETURN_IF_ERROR(CloseUffdInTarget(process, fd, deadline).status());
  }
  return {};
}

}  // namespace

Result<ProcessId> IdentifyProcess(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::uint64_t start_time, os::ReadStartTime(pid));
  return ProcessId{pid, start_time};
}

Result<std::vector<int>> ListUffds(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(const std::vector<os::OpenFile> files, os::ListOpenFiles(pid));
  std::vector<int> fds;
  for (const os::OpenFile& file : files) {
    if (file.target == kUffdLink) fds.push_back(file.fd);
  }
  return fds;
}

Result<CapturedUffd> CaptureUffd(pid_t pid, Qmp* qmp, const CaptureOptions& options, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(unique_fd pidfd, os::PidfdOpen(pid));
  HECA_ASSIGN_OR_RETURN(const ProcessId process, IdentifyProcess(pid));
  HECA_ASSIGN_OR_RETURN(const std::vector<int> existing, ListUffds(pid));
  if (!options.beside_existing) HECA_RETURN_IF_ERROR(ClearTheWay(process, existing, deadline));
  Result<os::InjectResult> made = Status(ErrorCode::kInternal, "nothing injected");
  if (qmp != nullptr) {
    HECA_ASSIGN_OR_RETURN(const LentDevice device, LentDevice::Lend(pid, *qmp, deadline));
    made = os::Inject(pid, {SYS_ioctl, {static_cast<std::uint64_t>(device.number()), kIocNew, kUffdFlags}}, deadline);
  } else {
    HECA_ASSIGN_OR_RETURN(const os::ProcessStatus status, os::ReadStatus(pid));
    if (status.seccomp != 0 && !options.trust_seccomp_filter) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("process {} has a seccomp filter, which kills it if userfaultfd(2) is not allowed; "
                                "for a QEMU name its QMP socket, else ask for it explicitly", pid));
    }
    made = os::Inject(pid, {SYS_userfaultfd, {kUffdFlags}}, deadline);
  }
  HECA_RETURN_IF_ERROR(made.status());
  if (made->value < 0) return ErrorOfCall(pid, made->value, qmp != nullptr);
  return CopyOut(process, std::move(pidfd), static_cast<int>(made->value), made->stop);
}

Result<CapturedUffd> TakeOverUffd(ProcessId process, int target_fd) {
  HECA_ASSIGN_OR_RETURN(unique_fd pidfd, os::PidfdOpen(process.pid));
  HECA_RETURN_IF_ERROR(CheckSame(process));  // after the pidfd: from here on the pid cannot change hands
  return CopyOut(process, std::move(pidfd), target_fd, Nanos(0));
}

Result<Nanos> CloseUffdInTarget(ProcessId process, int target_fd, Deadline deadline) {
  HECA_RETURN_IF_ERROR(CheckSame(process));
  HECA_ASSIGN_OR_RETURN(const std::vector<int> uffds, ListUffds(process.pid));
  if (std::find(uffds.begin(), uffds.end(), target_fd) == uffds.end()) {
    return Status(ErrorCode::kNotFound,
                  fmt::format("descriptor {} of process {} is no userfaultfd", target_fd, process.pid));
  }
  HECA_ASSIGN_OR_RETURN(const os::InjectResult closed,
                        os::Inject(process.pid, {SYS_close, {static_cast<std::uint64_t>(target_fd)}}, deadline));
  if (closed.value < 0) return Status::FromErrno(static_cast<int>(-closed.value), "close of a userfaultfd");
  return closed.stop;
}

}  // namespace heca::guest
