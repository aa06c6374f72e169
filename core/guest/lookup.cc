// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/lookup.h"

#include <limits.h>
#include <unistd.h>

#include <charconv>

#include <fmt/format.h>

#include "guest/facts.h"
#include "os/proc.h"

namespace heca::guest {

Result<GuestIdentity> LookupPid(pid_t pid) {
  const Result<os::ProcessStatus> status = os::ReadStatus(pid);
  if (!status.ok()) return Status(ErrorCode::kNotFound, fmt::format("there is no process {}", pid));
  if (status->tgid != pid) {
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("{} is a thread of process {}; name the process", pid, status->tgid));
  }
  if (!status->has_memory) {
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("process {} ({}) has no memory: a kernel thread or a zombie", pid, status->name));
  }
  GuestIdentity guest;
  HECA_ASSIGN_OR_RETURN(guest.process, IdentifyProcess(pid));
  HECA_ASSIGN_OR_RETURN(const std::vector<std::string> words, os::ReadCmdline(pid));
  const QemuCmdline cmdline = ParseQemuCmdline(words);
  guest.is_qemu = cmdline.is_qemu;
  guest.name = cmdline.name.empty() ? status->name : cmdline.name;
  guest.uuid = cmdline.uuid;
  guest.qmp_path = cmdline.qmp_path;
  if (!guest.qmp_path.empty() && guest.qmp_path.front() != '/') {
    char directory[PATH_MAX];
    const ssize_t size = ::readlink(fmt::format("/proc/{}/cwd", pid).c_str(), directory, sizeof directory);
    if (size < 0) return Status::FromErrno(errno, fmt::format("cannot read the directory of process {}", pid));
    guest.qmp_path = std::string(directory, static_cast<std::size_t>(size)) + "/" + guest.qmp_path;
  }
  return guest;
}

Result<GuestIdentity> LookupDomain(const std::string& name, const std::string& run_dir) {
  if (name.empty() || name.find('/') != std::string::npos) {
    return Status(ErrorCode::kInvalidArgument, fmt::format("'{}' is no name of a domain", name));
  }
  const std::string path = fmt::format("{}/{}.pid", run_dir, name);
  const Result<std::string> text = os::ReadSmallFile(path);
  if (!text.ok()) {
    return Status(ErrorCode::kNotFound,
                  fmt::format("no running domain '{}' ({} cannot be read); see `virsh list`", name, path),
                  ErrorScope::kNone, text.status().sys_errno());
  }
  pid_t pid = 0;
  std::from_chars(text->data(), text->data() + text->size(), pid);
  if (pid <= 0) return Status(ErrorCode::kInternal, fmt::format("{} holds no pid", path));
  const Result<GuestIdentity> guest = LookupPid(pid);
  if (!guest.ok() || !guest->is_qemu || guest->name != name) {
    return Status(ErrorCode::kNotFound,
                  fmt::format("domain '{}' is not running: {} names process {}, which is no QEMU of that name", name,
                              path, pid));
  }
  return guest;
}

}  // namespace heca::guest
