// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/probe_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include "heca/status.h"
#include "os/inject.h"
#include "os/pidfd.h"
#include "os/proc.h"

namespace heca::os {
namespace {

constexpr std::size_t kPage = 4096;

bool Note(ProcessAbilities& abilities, const char* what, const Status& status) {
  if (status.ok()) return true;
  if (!abilities.missing.empty()) abilities.missing += "; ";
  abilities.missing += std::string(what) + ": " + std::string(status.message());
  return false;
}

Status TryOpenMapped(pid_t child, const void* page) {
  HECA_ASSIGN_OR_RETURN(const std::vector<Mapping> maps, ReadMaps(child));
  for (const Mapping& m : maps) {
    if (m.start == reinterpret_cast<std::uint64_t>(page)) return OpenMappedFile(child, m).status();
  }
  return Status(ErrorCode::kInternal, "the child's mapping is not in its maps");
}

}  // namespace

ProcessAbilities ProbeProcess() {
  ProcessAbilities abilities;
  // The file has no name and no descriptor in the child: only map_files leads to it.
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const pid_t child = page == MAP_FAILED ? -1 : ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  if (child < 0) {
    abilities.missing = Status::FromErrno(errno, "cannot make a child to try on").message();
  } else {
    const Result<InjectResult> injected =
        Inject(child, {SYS_getpid, {}}, Deadline::After(std::chrono::seconds(2)));
    abilities.inject = Note(abilities, "ptrace", injected.status()) && injected->value == child;
    const Result<unique_fd> pidfd = PidfdOpen(child);
    abilities.copy_fd = Note(abilities, "pidfd_getfd", pidfd.ok() ? PidfdGetfd(*pidfd, STDERR_FILENO).status()
                                                                  : pidfd.status());
    abilities.open_mapped = Note(abilities, "map_files", TryOpenMapped(child, page));
    abilities.read_calls = Note(abilities, "read call accounting", ReadTaskReadCalls(child, child).status());
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  if (page != MAP_FAILED) ::munmap(page, kPage);
  return abilities;
}

}  // namespace heca::os
