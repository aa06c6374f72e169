// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/logged_ram.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "os/pidfd.h"
#include "os/proc.h"

namespace heca::guest {
namespace {

/// What is armed or looked at in one go.
constexpr std::uint64_t kStep = std::uint64_t{128} << 20;

Status CheckRanges(const std::vector<AddressRange>& ram, Bytes page_size) {
  const std::uint64_t page = page_size.value();
  if (ram.empty() || page == 0) return {ErrorCode::kInvalidArgument, "a write log needs memory"};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sorted;
  for (const AddressRange& range : ram) {
    const std::uint64_t start = range.address.value();
    if (range.size.value() == 0 || start % page != 0 || range.size.value() % page != 0) {
      return {ErrorCode::kInvalidArgument, fmt::format("memory at {:#x} of {} bytes is no run of pages of {} bytes",
                                                       start, range.size.value(), page)};
    }
    sorted.emplace_back(start, start + range.size.value());
  }
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].first < sorted[i - 1].second) {
      return {ErrorCode::kInvalidArgument, fmt::format("memory at {:#x} is named twice", sorted[i].first)};
    }
  }
  return {};
}

}  // namespace

void AppendSpan(std::vector<PageSpan>& spans, PageSpan span, PageIndex range_first) {
  if (!spans.empty() && spans.back().first + spans.back().pages.value() == span.first && span.first != range_first) {
    spans.back().pages = spans.back().pages + span.pages.value();
  } else {
    spans.push_back(span);
  }
}

LoggedRam::LoggedRam(CapturedUffd captured, const std::vector<AddressRange>& ram, Bytes page_size)
    : uffd_(std::move(captured.uffd)), target_fd_(captured.target_fd), pidfd_(std::move(captured.pidfd)),
      process_(captured.process), page_size_(page_size) {
  PageIndex first(0);
  for (const AddressRange& range : ram) {
    const PageCount pages(range.size.value() / page_size.value());
    ranges_.push_back({range, first, pages});
    first = first + pages.value();
  }
}

LoggedRam::~LoggedRam() { Release(); }

Result<std::unique_ptr<LoggedRam>> LoggedRam::Take(pid_t pid, Qmp* qmp, const std::vector<AddressRange>& ram,
                                                   Bytes page_size, Deadline deadline) {
  HECA_RETURN_IF_ERROR(CheckRanges(ram, page_size));
  HECA_ASSIGN_OR_RETURN(CapturedUffd captured, CaptureUffd(pid, qmp, {}, deadline));
  return std::unique_ptr<LoggedRam>(new LoggedRam(std::move(captured), ram, page_size));
}

Status LoggedRam::Register(std::uint64_t features) {
  HECA_ASSIGN_OR_RETURN(const os::UffdHandshake handshake, uffd_.Handshake(features));
  if (handshake != os::UffdHandshake::kFresh) {
    return {ErrorCode::kUnsupported, "this kernel's userfaultfd cannot tell what is written", ErrorScope::kRegion};
  }
  for (const Range& range : ranges_) HECA_RETURN_IF_ERROR(uffd_.RegisterWriteProtect(range.at.address, range.at.size));
  return Mappings().status();
}

PageCount LoggedRam::pages() const {
  return PageCount(ranges_.back().first.value() + ranges_.back().pages.value());
}

const LoggedRam::Range* LoggedRam::RangeAt(os::TargetAddress address) const {
  const auto found = std::find_if(ranges_.begin(), ranges_.end(), [address](const Range& range) {
    return address >= range.at.address && address - range.at.address < range.at.size.value();
  });
  return found == ranges_.end() ? nullptr : &*found;
}

os::TargetAddress LoggedRam::AddressOf(const Range& range, PageIndex page) const {
  return range.at.address + (page - range.first) * page_size_.value();
}

PageIndex LoggedRam::PageAt(const Range& range, os::TargetAddress address) const {
  return range.first + (address - range.at.address) / page_size_.value();
}

Status LoggedRam::InSteps(const std::function<Status(const Range&, os::TargetAddress, Bytes)>& step) const {
  for (const Range& range : ranges_) {
    for (std::uint64_t done = 0; done < range.at.size.value(); done += kStep) {
      const Bytes length(std::min(kStep, range.at.size.value() - done));
      HECA_RETURN_IF_ERROR(step(range, range.at.address + done, length));
    }
  }
  return {};
}

os::UffdAnswer LoggedRam::Protect(os::TargetAddress start, Bytes length, os::Arm arm) {
  const os::UffdAnswer answer = uffd_.WriteProtect(start, length, arm);
  // Linux 6.1 refuses a call that reaches over the end of a mapping, and one block of RAM may be several (NUMA).
  if (answer.error != ENOENT || length == page_size_) return answer;
  const Bytes half(length.value() / page_size_.value() / 2 * page_size_.value());
  const os::UffdAnswer first = Protect(start, half, arm);
  const os::UffdAnswer second = Protect(start + half.value(), Bytes(length.value() - half.value()), arm);
  return first.error != 0 ? first : second;
}

Result<std::vector<os::TargetAddress>> LoggedRam::Mappings() const {
  const Result<std::vector<os::Mapping>> maps = os::ReadMaps(process_.pid);
  // After the look: what was read is this process's.
  if (!os::PidfdAlive(pidfd_)) return Status(ErrorCode::kNotFound, fmt::format("process {} has ended", process_.pid));
  HECA_RETURN_IF_ERROR(maps.status());
  std::vector<os::TargetAddress> first_pages;
  for (const Range& range : ranges_) {
    std::uint64_t covered = range.at.address.value();
    const std::uint64_t end = covered + range.at.size.value();
    for (const os::Mapping& mapping : *maps) {
      if (mapping.end <= covered || mapping.start > covered) continue;  // they are sorted
      first_pages.emplace_back(covered);
      covered = std::min(mapping.end, end);
      if (covered == end) break;
    }
    if (covered != end) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("memory of process {} at {:#x}, whose writes are logged, is not mapped", process_.pid,
                                covered),
                    ErrorScope::kRegion);
    }
  }
  return first_pages;
}

Status LoggedRam::WhyRefused(const Status& refusal) const {
  HECA_RETURN_IF_ERROR(Mappings().status());
  return {ErrorCode::kFailedPrecondition,
          fmt::format("process {} has mapped memory anew while its writes were logged ({})", process_.pid,
                      refusal.ToString()),
          ErrorScope::kRegion, refusal.sys_errno()};
}

void LoggedRam::Release() {
  if (released_.exchange(true)) return;
  for (const Range& range : ranges_) {
    const Status status = uffd_.Unregister(range.at.address, range.at.size);
    if (!status.ok() && os::PidfdAlive(pidfd_)) Log().warn("process {}: {}", process_.pid, status.ToString());
  }
}

Status LoggedRam::Close(Deadline deadline) {
  Release();
  const Status closed = CloseUffdInTarget(process_, target_fd_, deadline).status();
  // Not there: closed by an attempt before this one, or gone with its process.
  return closed.code() == ErrorCode::kNotFound || !os::PidfdAlive(pidfd_) ? Status() : closed;
}

}  // namespace heca::guest
