// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/local_doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/size.h"

namespace heca::cli {
namespace {

using control::DoctorCheck;
using control::Verdict;
namespace fs = std::filesystem;

std::optional<std::string> ReadLine(const fs::path& path) {
  std::ifstream stream(path);
  std::string line;
  if (!std::getline(stream, line)) return std::nullopt;
  return line;
}

DoctorCheck Ok(std::string name, std::string what) {
  return {std::move(name), Verdict::kOk, std::move(what), ""};
}

/// Linux 6.1 has /dev/userfaultfd; minor faults and write-protection on shared memory are older (5.14, 5.19).
DoctorCheck Kernel(const fs::path& root) {
  const std::string release = ReadLine(root / "proc/sys/kernel/osrelease").value_or("unknown");
  int major = 0;
  int minor = 0;
  const char* end = release.data() + release.size();
  const auto after = std::from_chars(release.data(), end, major);
  if (after.ec == std::errc() && after.ptr != end) std::from_chars(after.ptr + 1, end, minor);
  if (major > 6 || (major == 6 && minor >= 1)) return Ok("kernel", release);
  return {"kernel", Verdict::kFail, release, "boot Linux 6.1 or later: it has /dev/userfaultfd"};
}

DoctorCheck Userfaultfd(const fs::path& root) {
  std::error_code error;
  if (fs::exists(root / "dev/userfaultfd", error)) return Ok("userfaultfd", "/dev/userfaultfd");
  return {"userfaultfd", Verdict::kFail, "no /dev/userfaultfd",
          "boot a kernel with CONFIG_USERFAULTFD=y (Debian's have it since 6.1)"};
}

DoctorCheck Ptrace(const fs::path& root) {
  const auto scope = ReadLine(root / "proc/sys/kernel/yama/ptrace_scope");
  if (!scope) return Ok("ptrace", "no Yama");
  if (*scope != "3") return Ok("ptrace", "kernel.yama.ptrace_scope = " + *scope);
  return {"ptrace", Verdict::kFail, "kernel.yama.ptrace_scope = 3: nobody may trace, not even root",
          "set kernel.yama.ptrace_scope = 2 in /etc/sysctl.d and reboot (3 cannot be lowered before)"};
}

struct Mount {
  std::string path;
  std::string type;
};

/// The mount that holds `path`; of several on one place the last counts.
Mount MountOf(const fs::path& root, const fs::path& path) {
  std::ifstream mounts(root / "proc/self/mounts");
  Mount best{"", "unknown"};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device;
    Mount mount;
    words >> device >> mount.path >> mount.type;
    const std::string prefix = mount.path == "/" ? "/" : mount.path + "/";
    if ((path.string() + "/").starts_with(prefix) && mount.path.size() >= best.path.size()) best = mount;
  }
  return best;
}

/// Hugetlbfs holds pages as well, for VMs on huge pages.
DoctorCheck OnTmpfs(const fs::path& root, std::string name, const fs::path& path, Verdict otherwise,
                    std::string remedy) {
  const Mount mount = MountOf(root, path);
  std::string what = fmt::format("{} on {}", path.string(), mount.type);
  if (mount.type == "tmpfs" || mount.type == "hugetlbfs") return Ok(std::move(name), std::move(what));
  return {std::move(name), otherwise, std::move(what), std::move(remedy)};
}

/// A remote page is waited for by threads that sleep some ten microseconds at a time: see cpu-latency-us in hecad.toml.
DoctorCheck IdleCpus(const fs::path& root) {
  constexpr int kDeepUs = 20;  // a round trip on a good network
  const std::string remedy = "set cpu-latency-us = \"0\" (or \"10\") in hecad.toml: idle CPUs then stay awake while VMs are "
                             "governed, and use more power";
  const std::string driver = ReadLine(root / "sys/devices/system/cpu/cpuidle/current_driver").value_or("none");
  if (driver == "haltpoll" && ReadLine(root / "sys/module/haltpoll/parameters/guest_halt_poll_ns") == "0") {
    return {"idle CPUs", Verdict::kWarn, "halt at once in this VM: a remote page may take twice as long", remedy};
  }
  int deepest = 0;
  for (int state = 0;; ++state) {
    const fs::path path = root / fmt::format("sys/devices/system/cpu/cpu0/cpuidle/state{}", state);
    const auto latency = ReadLine(path / "latency");
    if (!latency) break;
    if (driver != "haltpoll" && ReadLine(path / "disable").value_or("0") == "0") {
      deepest = std::max(deepest, std::atoi(latency->c_str()));
    }
  }
  if (deepest <= kDeepUs) return Ok("idle CPUs", driver);
  return {"idle CPUs", Verdict::kWarn, fmt::format("may take {} us to wake ({})", deepest, driver), remedy};
}

DoctorCheck HugePages(const fs::path& root) {
  const fs::path pool = root / "sys/kernel/mm/hugepages/hugepages-2048kB";
  const auto total = ReadLine(pool / "nr_hugepages");
  if (!total) return Ok("huge pages", "none of 2 MiB on this host");
  return Ok("huge pages", fmt::format("{} of {} of 2 MiB free (only VMs on hugetlbfs need them)",
                                      ReadLine(pool / "free_hugepages").value_or("?"), *total));
}

/// Transparent huge pages under a RAM file would make one fault a unit of 2 MiB.
DoctorCheck Transparent(const fs::path& root) {
  const auto line = ReadLine(root / "sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const std::size_t open = line ? line->find('[') : std::string::npos;
  const std::string mode =
      open == std::string::npos ? "not there" : line->substr(open + 1, line->find(']') - open - 1);
  if (mode != "always" && mode != "force") return Ok("shmem huge pages", mode);
  return {"shmem huge pages", Verdict::kWarn, mode + ": RAM files may be backed by 2 MiB pages",
          "echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled, or mount the VMs' tmpfs with "
          "huge=never"};
}

DoctorCheck Memory(const fs::path& root) {
  std::ifstream meminfo(root / "proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (!line.starts_with("MemAvailable:")) continue;
    return Ok("memory",
              FormatSize(Bytes(std::strtoull(line.c_str() + 13, nullptr, 10) * 1024)) + " available");
  }
  return Ok("memory", "unknown");
}

/// The socket of a running libvirt, or "".
std::string LibvirtSocket(const fs::path& root) {
  for (const char* socket : {"run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock"}) {
    std::error_code error;
    if (fs::exists(root / socket, error)) return fmt::format("/{}", socket);
  }
  return "";
}

DoctorCheck Libvirt(const fs::path& root) {
  if (std::string socket = LibvirtSocket(root); !socket.empty()) return Ok("libvirt", std::move(socket));
  return {"libvirt", Verdict::kWarn, "not running here",
          "start libvirtd for --domain; --pid governs any process without it"};
}

/// The value of a `key = "value"` line of qemu.conf, if it is there and not commented out.
std::optional<std::string> QemuConf(const fs::path& root, std::string_view key) {
  std::ifstream conf(root / "etc/libvirt/qemu.conf");
  std::optional<std::string> value;
  for (std::string line; std::getline(conf, line);) {
    line.erase(0, line.find_first_not_of(" \t"));
    if (!line.starts_with(key)) continue;
    const std::size_t equals = line.find_first_not_of(" \t", key.size());
    const std::size_t first = line.find('"');
    const std::size_t last = line.rfind('"');
    if (equals == std::string::npos || line[equals] != '=' || last == first) continue;
    value = line.substr(first + 1, last - first - 1);
  }
  return value;
}

DoctorCheck BackingDir(const fs::path& root) {
  std::error_code error;
  if (!fs::exists(root / "etc/libvirt/qemu.conf", error))
    return Ok("memory_backing_dir", "no libvirt QEMU driver here");
  const auto set = QemuConf(root, "memory_backing_dir");
  const Verdict otherwise = LibvirtSocket(root).empty() ? Verdict::kWarn : Verdict::kFail;
  return OnTmpfs(root, "memory_backing_dir", set.value_or("/var/lib/libvirt/qemu/ram"), otherwise,
                 "a VM's RAM file must lie on tmpfs: set memory_backing_dir = \"/dev/shm/libvirt-ram\" in "
                 "/etc/libvirt/qemu.conf (mkdir it, owned by the qemu user) and restart libvirtd");
}

}  // namespace

std::vector<DoctorCheck> LocalChecks(const fs::path& root) {
  return {Kernel(root),
          Userfaultfd(root),
          Ptrace(root),
          OnTmpfs(root, "run-dir", "/run/heca", Verdict::kWarn,
                  "mount -t tmpfs tmpfs /run, or set run-dir to a tmpfs"),
          OnTmpfs(root, "slab-dir", "/dev/shm/heca/slabs", Verdict::kWarn,
                  "mount -t tmpfs tmpfs /dev/shm, or set slab-dir to a tmpfs (needed to lend memory)"),
          IdleCpus(root),
          HugePages(root),
          Transparent(root),
          Memory(root),
          Libvirt(root),
          BackingDir(root)};
}

std::vector<DoctorCheck> MergeChecks(std::vector<DoctorCheck> hecad, const std::vector<DoctorCheck>& local) {
  const std::size_t count = hecad.size();
  for (const DoctorCheck& check : local) {
    const auto end = hecad.begin() + static_cast<std::ptrdiff_t>(count);
    if (std::none_of(hecad.begin(), end, [&](const DoctorCheck& h) { return h.name == check.name; })) {
      hecad.push_back(check);
    }
  }
  return hecad;
}

Verdict WorstOf(const std::vector<DoctorCheck>& checks) {
  Verdict worst = Verdict::kOk;
  for (const DoctorCheck& check : checks) worst = std::max(worst, check.verdict);
  return worst;
}

}  // namespace heca::cli
