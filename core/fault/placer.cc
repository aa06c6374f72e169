// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/placer.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"

namespace heca::fault {
namespace {

using os::Arm;
using region::PageRun;

KernelAnswer Meaning(int error) {
  switch (error) {
    case 0: return KernelAnswer::kDone;
    case EEXIST: return KernelAnswer::kPresent;
    case EAGAIN: return KernelAnswer::kAgain;
    case EFAULT: return KernelAnswer::kAbsent;
    case ENOMEM:
    case ENOSPC: return KernelAnswer::kNoMemory;
    case ENOENT:
    case ESRCH: return KernelAnswer::kGone;
    default: return KernelAnswer::kError;
  }
}

}  // namespace

std::string_view ToString(KernelAnswer answer) {
  switch (answer) {
    case KernelAnswer::kInvalid: return "invalid";
    case KernelAnswer::kDone: return "done";
    case KernelAnswer::kPresent: return "present";
    case KernelAnswer::kAgain: return "again";
    case KernelAnswer::kAbsent: return "absent";
    case KernelAnswer::kNoMemory: return "no-memory";
    case KernelAnswer::kGone: return "gone";
    case KernelAnswer::kError: return "error";
  }
  return "invalid";
}

Placer::Placer(os::Uffd& uffd, const region::RegionMap& map, WaitingThreads& waiting, region::ChangeMap& changes)
    : uffd_(uffd), map_(map), waiting_(waiting), changes_(changes) {
  // Never written, so it is the kernel's shared zero page whatever its size.
  void* zeros = ::mmap(nullptr, map.page_size().value(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HECA_CHECK(zeros != MAP_FAILED);
  zeros_ = static_cast<const std::byte*>(zeros);
}

Placer::~Placer() { ::munmap(const_cast<std::byte*>(zeros_), map_.page_size().value()); }

template <class Ioctl>
Placement Placer::Insist(PageRun run, Ioctl ioctl, bool wake_present) {
  Placement placement;
  while (true) {
    const PageRun rest{run.first + placement.pages, run.pages - placement.pages};
    const os::UffdAnswer answer = ioctl(map_.AddressOf(rest.first), map_.BytesOf(rest.pages), placement.pages);
    if (answer.error == 0) {
      placement.pages = run.pages;
      placement.answer = KernelAnswer::kDone;
      return placement;
    }
    const std::uint64_t progress = static_cast<std::uint64_t>(answer.done) / map_.page_size().value();
    placement.pages += progress;
    if (progress > 0 && placement.pages < run.pages) continue;  // the obstacle tells its name when asked alone
    placement.answer = Meaning(answer.error);
    placement.error = answer.error;
    if (placement.answer == KernelAnswer::kPresent && wake_present) Wake({run.first + placement.pages, 1});
    return placement;
  }
}

template <class Ioctl>
Placement Placer::Answer(PageRun run, Ioctl ioctl, bool wake_present) {
  const Placement placement = Insist(run, ioctl, wake_present);
  if (placement.pages > 0) waiting_.End({run.first, placement.pages});
  return placement;
}

Placement Placer::Copy(PageRun run, const std::byte* bytes, Arm arm) {
  Note(run, arm);
  return Answer(run, [&](os::TargetAddress to, Bytes length, std::uint64_t done) {
    return uffd_.Copy(to, bytes + map_.BytesOf(done).value(), length, arm);
  }, map_.BlockOf(run.first).file.knows_holes());
}

Placement Placer::Zero(PageIndex page, Arm arm) {
  Note({page, 1}, arm);
  if (arm == Arm::kNo && map_.page_size() == kBasePage) {
    return Answer({page, 1}, [&](os::TargetAddress to, Bytes length, std::uint64_t) {
      return uffd_.ZeroPage(to, length);
    });
  }
  return Copy({page, 1}, zeros_, arm);
}

Placement Placer::Continue(PageIndex page, Arm arm) {
  Note({page, 1}, arm);
  return Answer({page, 1}, [&](os::TargetAddress at, Bytes length, std::uint64_t) {
    return uffd_.Continue(at, length, arm);
  });
}

Placement Placer::Protect(PageRun run) {
  return Insist(run, [&](os::TargetAddress at, Bytes length, std::uint64_t) {
    return uffd_.WriteProtect(at, length, Arm::kYes);
  });
}

Placement Placer::Unprotect(PageRun run) {
  Note(run, Arm::kNo);
  return Answer(run, [&](os::TargetAddress at, Bytes length, std::uint64_t) {
    return uffd_.WriteProtect(at, length, Arm::kNo);
  });
}

Placement Placer::Poison(PageIndex page) {
  return Answer({page, 1}, [&](os::TargetAddress at, Bytes length, std::uint64_t) {
    return uffd_.Poison(at, length);
  });
}

void Placer::Wake(PageRun run) {
  // Fails only when the process is gone, which its pidfd reports.
  (void)uffd_.Wake(map_.AddressOf(run.first), map_.BytesOf(run.pages));
  waiting_.End(run);
}

Placement Placer::Punch(PageRun run) {
  const Status status = map_.BlockOf(run.first).file.Punch(map_.OffsetOf(run.first), map_.BytesOf(run.pages));
  if (status.ok()) return {KernelAnswer::kDone, run.pages, 0};
  return {KernelAnswer::kError, 0, status.sys_errno()};
}

bool Placer::MayHold(PageIndex page) const {
  const os::RamFile& file = map_.BlockOf(page).file;
  if (!file.knows_holes()) return true;
  const os::FileOffset at = map_.OffsetOf(page);
  const Result<os::FileExtent> data = file.NextData(at, at + map_.page_size().value());
  return !data.ok() || data->start < data->end;
}

}  // namespace heca::fault
