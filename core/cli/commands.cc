// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/commands.h"

#include <fmt/format.h>

#include <optional>

#include "base/size.h"
#include "base/version.h"
#include "cli/domain_migration.h"
#include "cli/local_doctor.h"
#include "cli/progress.h"
#include "cli/rates.h"
#include "cli/text.h"
#include "cli/virsh.h"

namespace heca::cli {
namespace {

/// Prints events; ends at an interrupt, at the deadline, or when nobody reads any more.
class EventPrinter final : public control::EventSink {
 public:
  using Print = std::function<void(const control::Event&)>;
  EventPrinter(Print print, std::FILE* out, const Interrupt& interrupt, std::optional<Deadline> deadline)
      : print_(std::move(print)), out_(out), interrupt_(interrupt), deadline_(deadline) {}
  bool OnEvent(const control::Event& event) override {
    print_(event);
    return std::fflush(out_) == 0;
  }
  [[nodiscard]] bool Cancelled() const override { return interrupt_.Pending() || TimedOut(); }
  [[nodiscard]] bool TimedOut() const { return deadline_ && deadline_->Passed(); }

 private:
  Print print_;
  std::FILE* out_;
  const Interrupt& interrupt_;
  std::optional<Deadline> deadline_;
};

std::optional<Deadline> DeadlineOf(const Request& request) {
  if (!request.timeout) return std::nullopt;
  return Deadline::After(*request.timeout);
}

/// What became of a long operation that was given up after --timeout.
const char* Remains(Command command) {
  switch (command) {
    case Command::kAttach:
      return "it was undone";
    case Command::kMigrate:
      return "the VM stays here unless it had changed over, then the rest still follows (hecactl migrations)";
    default:
      return "run it again to carry on";
  }
}

}  // namespace

void Commands::Print(const Json& json, const std::string& text) const {
  fmt::print(output_.out, "{}", request_.json ? json.dump(2) + "\n" : text);
}

void Commands::PrintLine(const Json& json) const {
  fmt::print(output_.out, "{}\n", json.dump());
  std::fflush(output_.out);
}

bool IsLong(Command command) {
  return command == Command::kAttach || command == Command::kLimit || command == Command::kDetach ||
         command == Command::kMigrate || command == Command::kEvents || command == Command::kTop;
}

Result<ExitCode> Commands::Run() {
  switch (request_.command) {
    case Command::kDoctor:
      return Doctor();
    case Command::kStatus:
      return NodeStatus();
    case Command::kNodes:
      return Nodes();
    case Command::kRegions:
      return Regions();
    case Command::kAttach:
      return Attach();
    case Command::kLimit:
      return Limit();
    case Command::kDetach:
      return Detach();
    case Command::kMigrate:
      return request_.move_domain ? MigrateDomain() : Migrate();
    case Command::kMigrations:
      return Migrations();
    case Command::kSteer:
      return Steer();
    case Command::kResolve:
      return Resolve();
    case Command::kEvents:
      return Events();
    case Command::kTop:
      return Top();
    case Command::kLeases:
      return Leases();
    case Command::kFreeLease:
      return FreeLease();
    case Command::kVersion:
      return Versions();
    case Command::kText:
    case Command::kXml:  // needs no hecad
    case Command::kInvalid:
      break;
  }
  return Status(ErrorCode::kInternal, "no such command");
}

Result<ExitCode> Commands::Doctor() {
  std::vector<control::DoctorCheck> checks;
  auto asked = api_.Doctor();
  if (asked.ok()) {
    checks = std::move(asked).value();
  } else {
    checks.push_back({"hecad", control::Verdict::kFail, std::string(asked.status().message()),
                      "systemctl start hecad; if it ends again, journalctl -u hecad says why"});
  }
  checks = MergeChecks(std::move(checks), LocalChecks("/"));
  const control::Verdict worst = WorstOf(checks);
  Print({{"verdict", std::string(ToString(worst))},
         {"hecad_running", asked.ok()},
         {"checks", ListToJson(checks)}},
        DoctorText(checks));
  return worst == control::Verdict::kFail ? ExitCode::kFailed : ExitCode::kOk;
}

Result<ExitCode> Commands::NodeStatus() {
  HECA_ASSIGN_OR_RETURN(const auto node, api_.About());
  HECA_ASSIGN_OR_RETURN(const auto regions, api_.Regions());
  Print({{"node", ToJson(node)}, {"regions", ListToJson(regions)}}, StatusText(node, regions));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Nodes() {
  HECA_ASSIGN_OR_RETURN(const auto peers, api_.Nodes());
  Print({{"nodes", ListToJson(peers)}}, NodesText(peers));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Regions() {
  if (!request_.region.empty()) {
    HECA_ASSIGN_OR_RETURN(const auto region, api_.Region(request_.region));
    Print({{"regions", ListToJson(std::vector{region})}}, RegionText(region));
    return ExitCode::kOk;
  }
  HECA_ASSIGN_OR_RETURN(const auto regions, api_.Regions());
  Print({{"regions", ListToJson(regions)}}, RegionsText(regions));
  return ExitCode::kOk;
}

/// An interrupt or a deadline of ours comes back as kAborted; here it gets its own words.
template <class Operation>
Status Commands::WithProgress(Operation operation) {
  const std::optional<Deadline> deadline = DeadlineOf(request_);
  const ProgressStyle style = output_.err_is_terminal ? ProgressStyle::kBar
                              : request_.json         ? ProgressStyle::kNone
                                                      : ProgressStyle::kLines;
  Status status;
  {
    ProgressPrinter printer(request_.verb, style, output_.err,
                            [&] { return interrupt_->Pending() || (deadline && deadline->Passed()); });
    status = operation(printer);
  }
  if (status.code() == ErrorCode::kAborted && !interrupt_->Pending() && deadline && deadline->Passed()) {
    return {ErrorCode::kDeadlineExceeded,
            fmt::format("not done within {}; {}", FormatSpan(*request_.timeout), Remains(request_.command))};
  }
  return status;
}

Result<ExitCode> Commands::Attach() {
  control::RegionInfo region;
  HECA_RETURN_IF_ERROR(WithProgress([&](control::ProgressSink& progress) {
    HECA_ASSIGN_OR_RETURN(region, api_.Attach(request_.attach, progress));
    return Status();
  }));
  Print({{"region", ToJson(region)}}, RegionText(region));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Limit() {
  control::RegionInfo region;
  HECA_RETURN_IF_ERROR(WithProgress([&](control::ProgressSink& progress) {
    HECA_ASSIGN_OR_RETURN(region, api_.Limit(request_.region, request_.limit, progress));
    return Status();
  }));
  Print({{"region", ToJson(region)}}, RegionText(region));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Detach() {
  HECA_RETURN_IF_ERROR(
      WithProgress([&](control::ProgressSink& progress) { return api_.Detach(request_.region, progress); }));
  Print({{"region", request_.region}, {"detached", true}},
        fmt::format("region {}: all memory is home, hecad has let go\n", request_.region));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Migrate() {
  control::MigrationSummary summary;
  HECA_RETURN_IF_ERROR(WithProgress([&](control::ProgressSink& progress) {
    HECA_ASSIGN_OR_RETURN(summary, api_.Migrate(request_.migrate, progress));
    return Status();
  }));
  Print({{"migration", ToJson(summary)}, {"destination", request_.migrate.destination}},
        MigrationText(summary, request_.migrate.destination));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::MigrateDomain() {
  Virsh virsh(request_.libvirt);
  DomainMigration migration(*request_.move_domain, api_, virsh);
  control::MigrationSummary summary;
  HECA_RETURN_IF_ERROR(WithProgress([&](control::ProgressSink& progress) {
    HECA_ASSIGN_OR_RETURN(summary, migration.Run(progress));
    return Status();
  }));
  const std::string& destination = request_.move_domain->destination;
  Print({{"migration", ToJson(summary)}, {"destination", destination}, {"destination_uri", migration.uri()}},
        MigrationText(summary, destination));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Migrations() {
  HECA_ASSIGN_OR_RETURN(const auto migrations, api_.Migrations());
  Print({{"migrations", ListToJson(migrations)}}, MigrationsText(migrations));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Steer() {
  HECA_RETURN_IF_ERROR(api_.Steer(request_.steer));
  Print({{"region", request_.steer.region}, {"steered", true}},
        fmt::format("region {}: done; `hecactl migrations` tells how far it is\n", request_.steer.region));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Resolve() {
  HECA_ASSIGN_OR_RETURN(const auto region, api_.Resolve(request_.region, request_.lost));
  Print({{"region", ToJson(region)}, {"lost", std::string(ToString(request_.lost))}},
        fmt::format("region {}: lost pages: {}; `hecactl events` and `hecactl regions {}` tell how it went\n",
                    request_.region, ToString(request_.lost), request_.region));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Events() {
  EventPrinter printer(
      [this](const control::Event& event) {
        fmt::print(output_.out, "{}", request_.json ? ToJson(event).dump() + "\n" : EventText(event));
      },
      output_.out, *interrupt_, request_.events.follow ? DeadlineOf(request_) : std::nullopt);
  const Status status = api_.Events(request_.events, printer);
  if (request_.events.follow && interrupt_->Pending()) return ExitCode::kOk;  // the way to end it
  const bool ended = status.ok() || status.code() == ErrorCode::kAborted;
  if (ended && printer.TimedOut()) return ExitCode::kTimedOut;
  HECA_RETURN_IF_ERROR(status);
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Top() {
  const std::uint64_t samples = request_.count.value_or(output_.out_is_terminal ? UINT64_MAX : 1);
  HECA_ASSIGN_OR_RETURN(auto before, api_.Stats(""));
  Clock::time_point then = Clock::now();
  for (std::uint64_t n = 0; n < samples; ++n) {
    if (interrupt_->Wait(request_.interval)) break;
    HECA_ASSIGN_OR_RETURN(auto after, api_.Stats(""));
    const Clock::time_point now = Clock::now();
    const auto rates = RatesBetween(before, after, now - then);
    if (request_.json) {
      PrintLine({{"time", FormatTime(std::chrono::system_clock::now())},
                 {"interval_s", std::chrono::duration<double>(now - then).count()},
                 {"regions", ListToJson(rates)}});
    } else {
      fmt::print(output_.out, "{}{}", output_.out_is_terminal ? "\033[H\033[J" : "", TopText(rates));
      if (std::fflush(output_.out) != 0) break;
    }
    before = std::move(after);
    then = now;
  }
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Leases() {
  HECA_ASSIGN_OR_RETURN(const auto leases, api_.Leases());
  Print({{"leases", ListToJson(leases)}}, LeasesText(leases));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::FreeLease() {
  HECA_RETURN_IF_ERROR(api_.FreeLease(request_.lease, request_.force));
  Print({{"lease", request_.lease.value()}, {"freed", true}},
        fmt::format("lease {}: freed; its memory is scrubbed before it is lent again\n",
                    request_.lease.value()));
  return ExitCode::kOk;
}

Result<ExitCode> Commands::Versions() {
  const auto node = api_.About();
  Print({{"hecactl", std::string(Version())}, {"hecad", node.ok() ? Json(node->version) : Json(nullptr)}},
        fmt::format("hecactl {}\nhecad   {}\n", Version(), node.ok() ? node->version : "(not running)"));
  return ExitCode::kOk;
}

}  // namespace heca::cli
