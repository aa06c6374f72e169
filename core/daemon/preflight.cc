// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/preflight.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/unique_fd.h"
#include "daemon/listen_address.h"
#include "node/run_lock.h"

namespace heca::daemon {
namespace {

struct Capability {
  unsigned bit;  ///< include/uapi/linux/capability.h
  std::string_view name;
  std::string_view purpose;
};

constexpr Capability kNeeded[] = {
    {1, "CAP_DAC_OVERRIDE", "to open RAM files and QMP sockets of the VMs' user, and /dev/userfaultfd"},
    {19, "CAP_SYS_PTRACE", "to take the userfaultfd of a VM"},
    {21, "CAP_SYS_ADMIN", "to look into /proc/PID/map_files"},
};

}  // namespace

Result<std::uint64_t> EffectiveCapabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("CapEff:")) continue;
    const std::size_t digits = line.find_first_of("0123456789abcdef", 7);
    std::uint64_t bits = 0;
    if (digits != std::string::npos &&
        std::from_chars(line.data() + digits, line.data() + line.size(), bits, 16).ec == std::errc()) {
      return bits;
    }
  }
  return Status(ErrorCode::kInternal, "/proc/self/status has no CapEff: is /proc mounted?",
                ErrorScope::kNode);
}

Status CheckPrivilege(std::uint64_t effective) {
  std::string missing;
  for (const Capability& capability : kNeeded) {
    if ((effective >> capability.bit & 1) != 0) continue;
    missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", capability.name, capability.purpose);
  }
  if (missing.empty()) return Status();
  return {ErrorCode::kPermissionDenied,
          fmt::format(
              "missing privilege: {}. Run `systemctl start hecad`, or hecad as root; a node that only lends "
              "memory needs none of it: --compute off",
              missing),
          ErrorScope::kNode};
}

Status PrepareDirectory(std::string_view key, const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (!error && made) std::filesystem::permissions(path, std::filesystem::perms(0750), error);
  if (error)
    return Status::FromErrno(error.value(), fmt::format("{}: cannot make {}", key, path), ErrorScope::kNode);
  // Tried, not asked: access() knows nothing of a read-only mount's cousins (quota, full tmpfs).
  unique_fd probe(::open(path.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!probe.valid()) {
    return Status::FromErrno(errno, fmt::format("{}: cannot write in {}", key, path), ErrorScope::kNode);
  }
  return Status();
}

Status CheckListen(std::string_view key, const std::string& address) {
  const ListenAddress parts = SplitAddress(address);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found); error != 0) {
    return {ErrorCode::kInvalidArgument, fmt::format("{}: {}: {}", key, address, ::gai_strerror(error)),
            ErrorScope::kNode};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  unique_fd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return Status::FromErrno(errno, fmt::format("{}: socket", key), ErrorScope::kNode);
  const int on = 1;
  static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  if (::bind(socket.get(), found->ai_addr, found->ai_addrlen) == 0 && ::listen(socket.get(), 1) == 0)
    return Status();
  switch (errno) {
    case EADDRINUSE:
      return {ErrorCode::kFailedPrecondition,
              fmt::format(
                  "{}: {} is in use. See by whom: ss -ltnp 'sport = :{}'; or give another port: --{} {}:PORT",
                  key, address, parts.port, key, parts.host),
              ErrorScope::kNode, EADDRINUSE};
    case EADDRNOTAVAIL:
      return {ErrorCode::kInvalidArgument,
              fmt::format("{}: {} is not an address of this host. See which it has: ip addr", key, address),
              ErrorScope::kNode, EADDRNOTAVAIL};
    default:
      return Status::FromErrno(errno, fmt::format("{}: cannot listen on {}", key, address),
                               ErrorScope::kNode);
  }
}

Status Preflight(const Config& config) {
  if (config.compute) {
    HECA_ASSIGN_OR_RETURN(const std::uint64_t effective, EffectiveCapabilities());
    HECA_RETURN_IF_ERROR(CheckPrivilege(effective));
  }
  HECA_RETURN_IF_ERROR(PrepareDirectory("run-dir", config.run_dir));
  // One that was killed is gone before its ports are looked at: it opened them later than its lock, and what was opened last
  // is let go of first.
  HECA_RETURN_IF_ERROR(node::LockDirectory(config.run_dir).status());
  HECA_RETURN_IF_ERROR(PrepareDirectory("socket", std::filesystem::path(config.socket).parent_path()));
  if (config.donate.value() != 0) {
    HECA_RETURN_IF_ERROR(PrepareDirectory("slab-dir", config.slab_dir));
    HECA_RETURN_IF_ERROR(CheckListen("control-listen", config.control_listen));
    HECA_RETURN_IF_ERROR(CheckListen("data-listen", config.data_listen));
  }
  if (!config.metrics_listen.empty())
    HECA_RETURN_IF_ERROR(CheckListen("metrics-listen", config.metrics_listen));
  return Status();
}

}  // namespace heca::daemon
