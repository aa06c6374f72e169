// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <thread>

namespace heca::cli {
namespace {

constexpr Millis kPoll{10};

/// A file, not a pipe: nobody has to read while the child writes, and it may outlive its reader.
Result<unique_fd> MemoryFile() {
  unique_fd file(::memfd_create("hecactl-child", MFD_CLOEXEC));
  if (!file) return Status::FromErrno(errno, "memfd_create");
  return file;
}

std::string ReadAll(const unique_fd& file) {
  std::string text;
  std::array<char, 4096> part;
  ssize_t got = 0;
  while ((got = ::pread(file.get(), part.data(), part.size(), static_cast<off_t>(text.size()))) > 0) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  return text;
}

/// As this process's, in English.
std::vector<std::string> Environment() {
  std::vector<std::string> all{"LC_ALL=C"};
  for (char** at = environ; *at != nullptr; ++at) {
    if (!std::string_view(*at).starts_with("LC_ALL=")) all.emplace_back(*at);
  }
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<Child> Child::Start(const std::vector<std::string>& command) {
  HECA_ASSIGN_OR_RETURN(unique_fd out, MemoryFile());
  HECA_ASSIGN_OR_RETURN(unique_fd err, MemoryFile());
  Child child(std::move(out), std::move(err));
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, child.out_.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, child.err_.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);  // we may have blocked some
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  std::vector<std::string> words = command;
  std::vector<std::string> environment = Environment();
  const int error = ::posix_spawnp(&child.pid_, words.front().c_str(), &files, &attributes, Pointers(words).data(),
                                   Pointers(environment).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error == ENOENT) return Status(ErrorCode::kUnsupported, "there is no program '" + command.front() + "' here");
  if (error != 0) return Status::FromErrno(error, command.front());
  return child;
}

std::optional<int> Child::Wait(Millis span) {
  const Deadline deadline = Deadline::After(span);
  while (!code_) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } else if (deadline.Passed()) {
      break;
    } else {
      std::this_thread::sleep_for(kPoll);
    }
  }
  return code_;
}

void Child::Kill() {
  if (!code_) ::kill(pid_, SIGKILL);
}

std::string Child::out() const { return ReadAll(out_); }
std::string Child::err() const { return ReadAll(err_); }

}  // namespace heca::cli
