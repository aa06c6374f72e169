// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qemu_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "os/proc.h"

namespace heca::guest::testing {
namespace {

constexpr const char* kProgram = "/usr/bin/qemu-system-x86_64";
constexpr uid_t kNobody = 65534;

}  // namespace

bool QemuProcess::Installed() { return ::access(kProgram, X_OK) == 0; }

QemuProcess::QemuProcess(std::vector<std::string> options, bool unprivileged) {
  char dir[] = "/dev/shm/heca-guest-test-XXXXXX";
  if (::mkdtemp(dir) == nullptr) {
    error_ = std::string("mkdtemp: ") + std::strerror(errno);
    return;
  }
  dir_ = dir;
  if (unprivileged && ::chown(dir, kNobody, kNobody) != 0) error_ = "chown";
  std::vector<std::string> words = {kProgram, "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp",
                                    "unix:" + SocketPath() + ",server=on,wait=off"};
  for (std::string& option : options) {
    for (std::size_t at = option.find("@DIR@"); at != std::string::npos; at = option.find("@DIR@")) {
      option.replace(at, 5, dir_);
    }
    words.push_back(option);
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int log = ::open((dir_ + "/log").c_str(), O_WRONLY | O_CREAT, 0600);
  ::dup2(log, STDERR_FILENO);
  const bool dropped = !unprivileged || (::setgid(kNobody) == 0 && ::setuid(kNobody) == 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // setuid cleared it
  if (!dropped || ::getppid() != parent) ::_exit(1);
  ::execv(kProgram, argv.data());
  ::_exit(127);
}

QemuProcess::~QemuProcess() {
  Kill();
  std::error_code ignored;
  if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

void QemuProcess::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Result<std::unique_ptr<Qmp>> QemuProcess::Connect() const {
  const Deadline deadline = Deadline::After(std::chrono::seconds(10));
  for (;;) {
    Result<std::unique_ptr<Qmp>> qmp = Qmp::Connect(SocketPath(), deadline);
    if (qmp.ok() || deadline.Passed()) return qmp;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      const Result<std::string> log = os::ReadSmallFile(dir_ + "/log");
      return Status(ErrorCode::kUnavailable, "QEMU ended: " + (log.ok() ? *log : std::string()));
    }
    ::usleep(2000);  // the socket is not there yet
  }
}

std::vector<std::string> SharedRam(const std::string& more_of_the_backend) {
  return {"-machine", "q35,memory-backend=ram", "-m", "64", "-object",
          "memory-backend-file,id=ram,mem-path=@DIR@/ram,size=64M,share=on" + more_of_the_backend};
}

}  // namespace heca::guest::testing
