// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/uffd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "os/proc.h"
#include "os/uffd_abi.h"

namespace heca::os {
namespace {

uffdio_range Range(TargetAddress start, Bytes length) { return {start.value(), length.value()}; }

UffdAnswer Answer(int result, std::int64_t done) {
  return {result == 0 ? 0 : errno, std::max<std::int64_t>(done, 0)};
}

UffdEvent Decode(const uffd_msg& message) {
  UffdEvent event;
  if (message.event == UFFD_EVENT_PAGEFAULT) {
    const auto flags = message.arg.pagefault.flags;
    event.kind = (flags & UFFD_PAGEFAULT_FLAG_WP) != 0      ? UffdEventKind::kWriteProtect
                 : (flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0 ? UffdEventKind::kMinor
                                                            : UffdEventKind::kMissing;
    event.write = (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0 || event.kind == UffdEventKind::kWriteProtect;
    event.address = TargetAddress(message.arg.pagefault.address);
    event.thread = static_cast<std::int32_t>(message.arg.pagefault.feat.ptid);  // 0 without the feature
  } else if (message.event == UFFD_EVENT_REMOVE) {
    event.kind = UffdEventKind::kRemove;
    event.address = TargetAddress(message.arg.remove.start);
    event.end = TargetAddress(message.arg.remove.end);
  } else {
    event.kind = UffdEventKind::kOther;
  }
  return event;
}

}  // namespace

std::uint64_t RequiredUffdFeatures() {
  return UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_SHMEM |
         UFFD_FEATURE_MINOR_HUGETLBFS | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
         UFFD_FEATURE_EVENT_REMOVE;
}

std::uint64_t WantedUffdFeatures() { return RequiredUffdFeatures() | UFFD_FEATURE_THREAD_ID | abi::kFeaturePoison; }

std::uint64_t SyncTrackingFeatures() { return UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM; }

std::uint64_t AsyncTrackingFeatures() {
  return SyncTrackingFeatures() | abi::kFeatureWpUnpopulated | abi::kFeatureWpAsync;
}

Result<Uffd> Uffd::OpenForSelf() {
  unique_fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device) {
    unique_fd fd(::ioctl(device.get(), abi::kIocNew, O_CLOEXEC | O_NONBLOCK));
    if (fd) return Uffd(std::move(fd));
  }
  unique_fd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd) {
    return Status::FromErrno(errno, "userfaultfd (give CAP_SYS_PTRACE or access to /dev/userfaultfd)");
  }
  return Uffd(std::move(fd));
}

Result<UffdHandshake> Uffd::Handshake(std::uint64_t features) {
  uffdio_api api{UFFD_API, features, 0};
  if (::ioctl(fd_.get(), UFFDIO_API, &api) == 0) return UffdHandshake::kFresh;
  if (errno == EINVAL) return UffdHandshake::kTakenOver;
  return Status::FromErrno(errno, "UFFDIO_API", ErrorScope::kRegion);
}

Status Uffd::Register(TargetAddress start, Bytes length) {
  return RegisterFor(UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP, start,
                     length);
}

Status Uffd::RegisterWriteProtect(TargetAddress start, Bytes length) {
  return RegisterFor(UFFDIO_REGISTER_MODE_WP, start, length);
}

Status Uffd::RegisterFor(std::uint64_t modes, TargetAddress start, Bytes length) {
  uffdio_register reg{};
  reg.range = Range(start, length);
  reg.mode = modes;
  if (::ioctl(fd_.get(), UFFDIO_REGISTER, &reg) == 0) return Status();
  return Status::FromErrno(errno, "UFFDIO_REGISTER of the region's memory", ErrorScope::kRegion);
}

Status Uffd::Unregister(TargetAddress start, Bytes length) {
  uffdio_range range = Range(start, length);
  if (::ioctl(fd_.get(), UFFDIO_UNREGISTER, &range) != 0) {
    return Status::FromErrno(errno, "UFFDIO_UNREGISTER", ErrorScope::kRegion);
  }
  // The kernel wakes who waits before it clears the mapping's flags: a thread that faults in between (under its own
  // VMA lock) goes to sleep in a context that will never be asked again.
  (void)Wake(start, length);
  return Status();
}

Result<std::size_t> Uffd::UnreadFaults() const {
  HECA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile("/proc/self/fdinfo/" + std::to_string(fd_.get())));
  return static_cast<std::size_t>(ParseField(text, "pending").value_or(0));
}

Result<std::size_t> Uffd::Read(std::span<UffdEvent> events) {
  std::array<uffd_msg, 64> messages;
  const std::size_t room = std::min(events.size(), messages.size());
  const ssize_t got = ::read(fd_.get(), messages.data(), room * sizeof(uffd_msg));
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
    return Status::FromErrno(errno, "read of the userfaultfd", ErrorScope::kRegion);
  }
  const auto count = static_cast<std::size_t>(got) / sizeof(uffd_msg);
  for (std::size_t i = 0; i < count; ++i) events[i] = Decode(messages[i]);
  return count;
}

UffdAnswer Uffd::Copy(TargetAddress to, const std::byte* from, Bytes length, Arm arm) {
  uffdio_copy copy{to.value(), reinterpret_cast<std::uintptr_t>(from), length.value(),
                   arm == Arm::kYes ? UFFDIO_COPY_MODE_WP : 0, 0};
  const int result = ::ioctl(fd_.get(), UFFDIO_COPY, &copy);
  return Answer(result, copy.copy);
}

UffdAnswer Uffd::ZeroPage(TargetAddress to, Bytes length) {
  uffdio_zeropage zero{Range(to, length), 0, 0};
  const int result = ::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &zero);
  return Answer(result, zero.zeropage);
}

UffdAnswer Uffd::Continue(TargetAddress at, Bytes length, Arm arm) {
  uffdio_continue cont{Range(at, length), arm == Arm::kYes ? abi::kContinueModeWp : 0, 0};
  const int result = ::ioctl(fd_.get(), UFFDIO_CONTINUE, &cont);
  return Answer(result, cont.mapped);
}

UffdAnswer Uffd::WriteProtect(TargetAddress at, Bytes length, Arm arm) {
  uffdio_writeprotect protect{Range(at, length), arm == Arm::kYes ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
  return Answer(::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &protect), 0);
}

UffdAnswer Uffd::Poison(TargetAddress at, Bytes length) {
  abi::PoisonArgument poison{at.value(), length.value(), 0, 0};
  const int result = ::ioctl(fd_.get(), abi::kIocPoison, &poison);
  return Answer(result, poison.updated);
}

UffdAnswer Uffd::Wake(TargetAddress at, Bytes length) {
  uffdio_range range = Range(at, length);
  return Answer(::ioctl(fd_.get(), UFFDIO_WAKE, &range), 0);
}

}  // namespace heca::os
