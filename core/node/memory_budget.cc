// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/memory_budget.h"

#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

#include "base/size.h"

namespace heca::node {
namespace {

/// A line "Name:   123 kB" (or a bare count) of /proc/meminfo; 0 if it is not there.
std::uint64_t MemInfo(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t value = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) {
      value = std::stoull(line.substr(name.size() + 1));
      if (line.ends_with(" kB")) value *= 1024;
      break;
    }
  }
  return value;
}

}  // namespace

Result<Bytes> HostFreeMemory::Available(Bytes page_size, int ram_fd) const {
  if (page_size > kBasePage) return Bytes(MemInfo("HugePages_Free") * MemInfo("Hugepagesize"));
  struct statfs stat {};
  if (::fstatfs(ram_fd, &stat) != 0) return Status::FromErrno(errno, "fstatfs of the RAM file");
  std::uint64_t available = MemInfo("MemAvailable");
  if (stat.f_blocks != 0) {  // 0: a tmpfs mounted without size=
    available = std::min(available, static_cast<std::uint64_t>(stat.f_bfree) * static_cast<std::uint64_t>(stat.f_bsize));
  }
  return Bytes(available);
}

Status FitsGroup(const os::MemoryGroup& group, const RegionId& region, Bytes limit, Bytes resident) {
  // What is here may be charged to another group (who wrote a page first pays); it comes back at this one's expense.
  const std::uint64_t charged = std::min(resident.value(), group.shared.value());
  const std::uint64_t more = limit.value() - std::min(limit.value(), charged);
  if (more <= group.Room().value()) return Status();
  return Status(ErrorCode::kResourceExhausted,
                "region '" + region + "' needs " + FormatSize(Bytes(more)) + " more of local memory, but its memory "
                    "cgroup has room for " + FormatSize(group.Room()) + " (" + FormatSize(group.used) + " of " +
                    FormatSize(group.limit) + " are used), and the kernel would kill the process when it is full; "
                    "raise the limit of " + group.path + " (libvirt: <memtune>), or keep less of the region here",
                ErrorScope::kRegion);
}

Status MemoryBudget::Book(const RegionId& region, Bytes page_size, int ram_fd, Bytes limit,
                          std::function<Bytes()> resident) {
  HECA_ASSIGN_OR_RETURN(const Bytes available, memory_.Available(page_size, ram_fd));
  const std::lock_guard lock(mutex_);
  std::uint64_t promised = 0;  // booked by others and not taken from the host yet
  for (const auto& [name, booking] : bookings_) {
    if (name == region || booking.page_size != page_size.value()) continue;
    const std::uint64_t taken = booking.resident().value();
    promised += booking.bytes - std::min(booking.bytes, taken);
  }
  const std::uint64_t wanted = limit.value() + std::max(kSlackBytes, page_size.value() * 8);
  const std::uint64_t here = resident().value();
  const std::uint64_t more = wanted - std::min(wanted, here);
  if (more + promised > available.value()) {
    return Status(ErrorCode::kResourceExhausted,
                  "region '" + region + "' needs " + FormatSize(Bytes(more)) + " more of local memory (limit " +
                      FormatSize(limit) + " and slack, " + FormatSize(Bytes(here)) + " are here), but of " +
                      FormatSize(available) + " free " + (page_size > kBasePage ? "in huge pages " : "") +
                      FormatSize(Bytes(promised)) +
                      " are promised to other regions; lower a limit, or free memory on this host",
                  ErrorScope::kRegion);
  }
  bookings_[region] = Booking{page_size.value(), wanted, std::move(resident)};
  return Status();
}

void MemoryBudget::Drop(const RegionId& region) {
  const std::lock_guard lock(mutex_);
  bookings_.erase(region);
}

Bytes MemoryBudget::Booked() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [name, booking] : bookings_) sum += booking.bytes;
  return Bytes(sum);
}

}  // namespace heca::node
