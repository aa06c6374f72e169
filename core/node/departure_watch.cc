// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/departure_watch.h"

#include <utility>

namespace heca::node {

using migration::Phase;

DepartureWatch::DepartureWatch(DepartureLog& log, const control::Lease& image, control::MigrationInfo info,
                               control::MigrationApi& destination, control::ProgressSink& asker,
                               const migration::LeavingVm& vm)
    : log_(log), image_(image.key.id), there_(destination), asker_(asker), vm_(vm) {
  log_.Begin(image, std::move(info));
}

void DepartureWatch::Ended(const Result<control::MigrationSummary>& summary, Phase last) {
  if (summary.ok()) {
    log_.End(image_, *summary);
  } else if (last == Phase::kAborted || last == Phase::kLost) {
    log_.End(image_, last, summary.status());
  }
}

void DepartureWatch::OnProgress(const control::Progress& progress) {
  log_.Note(image_, progress);
  asker_.OnProgress(progress);
}

Status DepartureWatch::Open(const RegionId& region, const control::LeaseKey& image) {
  OnProgress({std::string(ToString(Phase::kOpened)), 0, 0, ""});
  Status opened = there_.Open(region, image);
  stop_to_open_ = Clock::now() - vm_.stopped_at();
  return opened;
}

Result<control::Arrival> DepartureWatch::Look(const RegionId& region, const control::LeaseKey& image,
                                              std::uint64_t bandwidth) {
  auto arrival = there_.Look(region, image, bandwidth);
  if (!arrival.ok()) return arrival;
  log_.Note(image_, *arrival);
  if (arrival->open_to_resume.count() != 0) log_.NoteDowntime(image_, stop_to_open_ + arrival->open_to_resume);
  return arrival;
}

}  // namespace heca::node
