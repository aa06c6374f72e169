// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/direct_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace heca::guest {
namespace {

/// KVM_RUN, _IO(0xAE, 0x80): a vCPU in the guest.
constexpr std::uint64_t kKvmRun = 0xae80;

/// Calls that wait for something else than data of a file, or only send data out.
constexpr std::array<long, 30> kHarmless = {
    SYS_futex,     SYS_poll,         SYS_ppoll,       SYS_select,        SYS_pselect6,     SYS_epoll_wait,
    SYS_epoll_pwait, SYS_nanosleep,  SYS_clock_nanosleep, SYS_rt_sigtimedwait, SYS_rt_sigsuspend, SYS_pause,
    SYS_restart_syscall, SYS_wait4,  SYS_waitid,      SYS_accept,        SYS_accept4,      SYS_sched_yield,
    SYS_write,     SYS_pwrite64,     SYS_writev,      SYS_pwritev,       SYS_pwritev2,     SYS_fsync,
    SYS_fdatasync, SYS_fallocate,    SYS_sync_file_range, SYS_mq_timedreceive, SYS_semop,  SYS_semtimedop};

}  // namespace

bool IsHarmlessCall(const os::TaskSyscall& call) {
  if (call.kind == os::TaskSyscall::Kind::kBlockedOutside) return true;
  if (call.kind != os::TaskSyscall::Kind::kBlocked) return false;
  if (call.number == SYS_ioctl) return call.args[1] == kKvmRun;
  return std::find(kHarmless.begin(), kHarmless.end(), call.number) != kHarmless.end();
}

DirectIo JudgeDirectIo(const std::vector<OpenFileFacts>& files, const std::vector<os::Mapping>& maps) {
  DirectIo found;
  const auto note = [&](bool& kind, std::string what) {
    kind = true;
    if (found.what.empty()) found.what = std::move(what);
  };
  for (const OpenFileFacts& f : files) {
    const std::string& target = f.file.target;
    if (target == "anon_inode:[io_uring]") {
      note(found.asynchronous, fmt::format("descriptor {} is an io_uring", f.file.fd));
    } else if (target.starts_with("/dev/sg") || target.starts_with("/dev/bsg/") ||
               target.starts_with("/dev/ng") || target.starts_with("/dev/nvme")) {
      note(found.asynchronous, target + " is passed through");
    } else if (f.block_device) {
      // Also without O_DIRECT: SCSI passthrough (scsi-block) does its I/O by ioctl into guest pages.
      note(found.asynchronous, target + " is a block device");
    } else if ((f.flags & static_cast<std::uint64_t>(O_DIRECT)) != 0 && target.starts_with('/')) {
      note(found.synchronous, target + " is open with O_DIRECT");
    }
  }
  for (const os::Mapping& m : maps) {
    if (m.path == "/[aio]") note(found.asynchronous, "an AIO ring is mapped");
  }
  return found;
}

Result<DirectIo> LookForDirectIo(pid_t pid) {
  HECA_ASSIGN_OR_RETURN(std::vector<os::OpenFile> files, os::ListOpenFiles(pid));
  std::vector<OpenFileFacts> facts;
  facts.reserve(files.size());
  for (os::OpenFile& file : files) {
    OpenFileFacts f;
    if (file.target.starts_with('/')) {
      const Result<std::uint64_t> flags = os::ReadFdFlags(pid, file.fd);
      if (!flags.ok()) continue;  // closed meanwhile: its direct I/O is over
      f.flags = *flags;
      struct stat info {};
      f.block_device =
          ::stat(fmt::format("/proc/{}/fd/{}", pid, file.fd).c_str(), &info) == 0 && S_ISBLK(info.st_mode);
    }
    f.file = std::move(file);
    facts.push_back(std::move(f));
  }
  HECA_ASSIGN_OR_RETURN(const std::vector<os::Mapping> maps, os::ReadMaps(pid));
  return JudgeDirectIo(facts, maps);
}

Status ReadCallsProof::Begin(const std::vector<pid_t>& vcpus) {
  waiting_for_.clear();
  HECA_ASSIGN_OR_RETURN(const std::vector<pid_t> tasks, os::ListTasks(pid_));
  for (const pid_t tid : tasks) {
    if (std::find(vcpus.begin(), vcpus.end(), tid) != vcpus.end()) continue;
    const Result<std::uint64_t> calls = os::ReadTaskReadCalls(pid_, tid);
    if (calls.ok()) {
      waiting_for_[tid] = *calls;
    } else if (calls.status().code() != ErrorCode::kNotFound) {
      return calls.status();
    }
  }
  return Status();
}

bool ReadCallsProof::Done() {
  for (auto waiting = waiting_for_.begin(); waiting != waiting_for_.end();) {
    const pid_t tid = waiting->first;
    const Result<os::TaskSyscall> call = os::ReadTaskSyscall(pid_, tid);
    const bool elsewhere = call.ok() ? IsHarmlessCall(*call) : call.status().code() == ErrorCode::kNotFound;
    const Result<std::uint64_t> calls = elsewhere ? waiting->second : os::ReadTaskReadCalls(pid_, tid);
    const bool over = elsewhere || (calls.ok() ? *calls != waiting->second
                                               : calls.status().code() == ErrorCode::kNotFound);
    waiting = over ? waiting_for_.erase(waiting) : std::next(waiting);
  }
  return waiting_for_.empty();
}

}  // namespace heca::guest
