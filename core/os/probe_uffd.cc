// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/probe_uffd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "os/page_scan.h"
#include "os/uffd.h"
#include "os/uffd_abi.h"

namespace heca::os {
namespace {

/// Pages of a memfd, the first of which is in the file.
class ProbePages {
 public:
  explicit ProbePages(std::uint64_t pages) : size_(pages * kBasePage.value()) {
    const unique_fd file(::memfd_create("heca-probe", MFD_CLOEXEC));
    const std::byte byte{1};
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(size_)) != 0 ||
        ::pwrite(file.get(), &byte, 1, 0) != 1) {
      return;
    }
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  }
  ~ProbePages() {
    if (valid()) ::munmap(memory_, size_);
  }
  ProbePages(const ProbePages&) = delete;
  ProbePages& operator=(const ProbePages&) = delete;
  [[nodiscard]] bool valid() const { return memory_ != MAP_FAILED; }
  [[nodiscard]] Bytes size() const { return Bytes(size_); }
  [[nodiscard]] TargetAddress Page(std::uint64_t page) const {
    return TargetAddress(reinterpret_cast<std::uintptr_t>(memory_) + page * kBasePage.value());
  }
  void Write(std::uint64_t page) const { static_cast<volatile char*>(memory_)[page * kBasePage.value()] = 1; }

 private:
  std::size_t size_;
  void* memory_ = MAP_FAILED;
};

/// Tries CONTINUE with write-protection on one page; older kernels refuse the mode with EINVAL.
bool CanContinueProtected(std::uint64_t features) {
  Result<Uffd> uffd = Uffd::OpenForSelf();
  if (!uffd.ok() || !uffd->Handshake(features).ok()) return false;
  const ProbePages page(1);
  return page.valid() && uffd->Register(page.Page(0), kBasePage).ok() &&
         uffd->Continue(page.Page(0), kBasePage, Arm::kYes).error == 0;
}

/// Arms a page and two holes, writes to one of the holes, and asks twice: it is told once, the others never.
bool CanScanPages() {
  Result<Uffd> uffd = Uffd::OpenForSelf();
  if (!uffd.ok() || !uffd->Handshake(AsyncTrackingFeatures()).ok()) return false;
  const ProbePages pages(3);
  const Result<PageScan> scan = PageScan::Open(::getpid());
  if (!pages.valid() || !scan.ok() || !uffd->RegisterWriteProtect(pages.Page(0), pages.size()).ok() ||
      !scan->ArmAll(pages.Page(0), pages.size()).ok()) {
    return false;
  }
  pages.Write(1);
  std::vector<WrittenRun> first;
  std::vector<WrittenRun> second;
  return scan->Written(pages.Page(0), pages.size(), Arm::kYes, first).ok() &&
         scan->Written(pages.Page(0), pages.size(), Arm::kNo, second).ok() && first.size() == 1 && second.empty() &&
         first[0].start == pages.Page(1) && first[0].end == pages.Page(2);
}

}  // namespace

Result<UffdAbilities> ProbeUffd() {
  UffdAbilities abilities;
  HECA_ASSIGN_OR_RETURN(Uffd uffd, Uffd::OpenForSelf());
  uffdio_api api{UFFD_API, 0, 0};
  if (::ioctl(uffd.fd(), UFFDIO_API, &api) != 0) return Status::FromErrno(errno, "UFFDIO_API");
  abilities.features = api.features;
  abilities.negotiated = WantedUffdFeatures() & api.features;
  abilities.sufficient = (api.features & RequiredUffdFeatures()) == RequiredUffdFeatures();
  abilities.thread_ids = (api.features & UFFD_FEATURE_THREAD_ID) != 0;
  abilities.poison = (api.features & abi::kFeaturePoison) != 0;
  abilities.write_protect_async = (api.features & abi::kFeatureWpAsync) != 0;
  abilities.page_scan = abilities.write_protect_async && CanScanPages();
  abilities.continue_protected = CanContinueProtected(abilities.negotiated);
  const unique_fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  abilities.device = device.valid();
  return abilities;
}

}  // namespace heca::os
