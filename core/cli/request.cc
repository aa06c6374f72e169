// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/request.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <utility>

#include "base/nearest.h"
#include "base/size.h"
#include "base/transport_choice.h"
#include "base/version.h"
#include "cli/completion.h"

namespace heca::cli {
namespace {

constexpr const char* kAbout =
    "hecactl: the operator's hand on hecad, the daemon that moves memory of VMs between hosts.";
constexpr const char* kEnd =
    "Sizes are written like 2GiB, 512M or 4096. `hecactl COMMAND --help` tells more.\n"
    "Exit: 0 done, 1 failed, 2 usage, 3 hecad unreachable, 4 refused, 5 timed out, 130 interrupted";

/// The words of the command line before they are checked.
struct Words {
  double timeout = 0;
  std::string local, ratio, on_loss = "wait", size, lost, shell, mode = "post-copy", bandwidth;
  std::uint32_t downtime_ms = 300;
  std::string replicas, migration, transport, travels = "auto";
  bool yes = false;
  std::vector<std::string> names;  ///< of migrate
  DomainMove move;
  int persistent = 0, undefine_source = 0;  ///< 1: yes, -1: no, 0: not said
  std::vector<std::string> options;
  double interval = 1;
  std::uint64_t lease = 0, count = 0;
};

/// The check without its own words in --help, which already says what is wanted.
CLI::Validator Quiet(const CLI::Validator& check) { return check.description(""); }

CLI::App* AddCommand(CLI::App& app, const char* name, const char* help) {
  CLI::App* command = app.add_subcommand(name, help);
  command->fallthrough();  // --json and --socket are taken behind the command too
  return command;
}

void DeclareAttach(CLI::App& app, Request& request, Words& words) {
  CLI::App* attach = AddCommand(app, "attach", "Take the memory of a running VM or process under governance");
  control::AttachSpec& spec = request.attach;
  CLI::App* who = attach->add_option_group("Who", "one of");
  who->add_option("--domain", spec.domain, "libvirt domain")->type_name("NAME");
  who->add_option("--pid", spec.pid, "process: QEMU or any other with a shared mapping")
      ->type_name("PID")
      ->check(Quiet(CLI::Range(1, std::numeric_limits<int>::max())));
  who->require_option(1);
  attach->add_option("--name", spec.region, "name of the region [the domain's, or pid-PID]")
      ->type_name("REGION");
  CLI::App* much = attach->add_option_group("How much stays here", "all, if neither is given");
  much->add_option("--local", words.local, "so many bytes stay here")->type_name("SIZE");
  much->add_option("--ratio", words.ratio, "local:remote, such as 1:3")->type_name("L:R");
  much->require_option(0, 1);
  attach
      ->add_option("--sponsor", spec.sponsors,
                   "node that lends the memory, by name or HOST:PORT [hecad chooses]")
      ->type_name("NODE");
  attach->add_option("--qmp", spec.qmp_socket, "QMP socket of QEMU [found for a domain]")->type_name("PATH");
  attach->add_option("--map", spec.mapping.path, "plain process: only mappings of this file")
      ->type_name("PATH");
  attach
      ->add_option("--on-loss", words.on_loss,
                   "a page whose only copy is lost: wait (the VM is stopped) or poison [wait]")
      ->type_name("wait|poison")
      ->check(Quiet(CLI::IsMember({"wait", "poison"})));
  attach
      ->add_option("--transport", words.travels,
                   "how its pages travel: by the best that both ends have, or by nothing but one [auto]")
      ->type_name("auto|tcp|rdma")
      ->check(Quiet(CLI::IsMember({"auto", "tcp", "rdma"})));
  attach->add_option("--option", words.options, "rarely needed switch of hecad")->type_name("NAME=VALUE");
}

void DeclareMigrate(CLI::App& app, Request& request, Words& words) {
  CLI::App* migrate =
      AddCommand(app, "migrate", "Move a running VM to another host; returns when nothing of it is left here");
  control::MigrateSpec& spec = request.migrate;
  migrate
      ->add_option("names", words.names,
                   "the libvirt domain, unless --pid names a QEMU; and where to: a peer's name, a host, or for a domain a "
                   "libvirt URI, for --pid HOST:PORT of the other hecad")
      ->type_name("[DOMAIN] DEST")
      ->expected(1, 2);
  CLI::App* libvirt = migrate->add_option_group("A libvirt domain", "its metadata ask for heca");
  CLI::Option* domain = libvirt->add_option("--domain", words.move.domain, "the same as DOMAIN")->type_name("NAME");
  libvirt->add_option("--connect", request.libvirt, "the libvirt of this host [qemu:///system]")->type_name("URI");
  libvirt->add_option("--dest-uri", words.move.uri, "the libvirt of DEST, as the one here reaches it "
                                                    "[qemu+tcp://DEST/system]")->type_name("URI");
  libvirt->add_flag("--persistent,!--no-persistent", words.persistent, "it is defined there [if it is defined here]");
  libvirt->add_flag("--undefine-source,!--no-undefine-source", words.undefine_source,
                    "it is defined here no more [if it is defined there]");
  CLI::App* qemu = migrate->add_option_group("A QEMU without libvirt");
  CLI::Option* pid = qemu->add_option("--pid", spec.pid, "its pid; needs --qmp too")
                         ->type_name("PID")
                         ->check(Quiet(CLI::Range(1, std::numeric_limits<int>::max())));
  pid->needs(qemu->add_option("--qmp", spec.qmp_socket, "its QMP socket")->type_name("PATH"))->excludes(domain);
  CLI::App* how = migrate->add_option_group("How");
  how->add_option("--mode", words.mode,
                  "when the VM changes over: post-copy at once, hybrid after a part of its memory, pre-copy only when "
                  "the rest fits the downtime [as a domain's metadata say; post-copy]")
      ->type_name("post-copy|hybrid|pre-copy")
      ->check(Quiet(CLI::IsMember({"post-copy", "hybrid", "pre-copy"})));
  CLI::App* there = migrate->add_option_group(
      "The QEMU that waits there", "started by hand with -incoming defer");
  CLI::Option* options[] = {
      there->add_option("--dest-pid", spec.destination_pid, "its pid")
          ->type_name("PID")
          ->check(Quiet(CLI::Range(1, std::numeric_limits<int>::max()))),
      there->add_option("--dest-qmp", spec.destination_qmp, "its QMP socket, a path there")->type_name("PATH"),
      there->add_option("--uri", spec.uri, "where the device state travels, as tcp:HOST:PORT or unix:PATH")
          ->type_name("URI")};
  for (CLI::Option* one : options) {
    for (CLI::Option* other : options) {
      if (one != other) one->needs(other);
    }
  }
  how->add_option("--downtime-ms", words.downtime_ms, "the VM may stand still for so long [300]")
      ->type_name("N")
      ->check(Quiet(CLI::Range(1, 2'000'000)));
  how->add_option("--bandwidth", words.bandwidth,
                  "copy at most so much a second; what the VM waits for is not held back [no limit]")
      ->type_name("SIZE");
}

void DeclareSteer(CLI::App& app, Request& request, Words& words) {
  CLI::App* steer = AddCommand(app, "steer", "Change a migration that is under way");
  steer->add_option("region", request.region, "the VM's region or domain, as `hecactl migrations` names it")
      ->type_name("REGION")
      ->required();
  steer->add_flag("--switch-now", request.steer.switch_now,
                  "the VM changes over as soon as it can, whatever is still to be copied: that follows");
  steer->add_option("--bandwidth", words.bandwidth, "copy at most so much a second from now on; 0: no limit")
      ->type_name("SIZE");
}

void DeclareXml(CLI::App& app, Request& request, Words& words) {
  CLI::App* xml = AddCommand(app, "xml", "Make a libvirt domain's XML ready for heca; needs no hecad");
  CLI::App* much = xml->add_option_group("How much stays here", "goes into the metadata; all, if nothing says so");
  much->add_option("--local", words.local, "so many bytes stay here")->type_name("SIZE");
  much->add_option("--ratio", words.ratio, "local:remote, such as 1:3")->type_name("L:R");
  much->require_option(0, 1);
  xml->add_option("--replicas", words.replicas, "so many sponsors have each page")->type_name("N");
  xml->add_option("--migration", words.migration, "how its memory goes to another host")
      ->type_name("post-copy|hybrid|pre-copy");
  xml->add_option("--transport", words.transport, "how its pages go to sponsors")->type_name("auto|tcp|rdma");
  xml->add_flag("--check", request.xml.check, "print what would change; exit 0: nothing, 1: something");
  xml->add_option("file", request.xml.file, "the XML, as virsh dumpxml --inactive prints it [standard input]")
      ->type_name("FILE");
}

void DeclareOthers(CLI::App& app, Request& request, Words& words) {
  AddCommand(app, "doctor", "What this host can do, and what to repair");
  AddCommand(app, "status", "This hecad and its regions");
  AddCommand(app, "nodes", "This node and its peers");
  AddCommand(app, "regions", "Regions, or all about one of them")
      ->add_option("region", request.region, "all about this one")
      ->type_name("REGION");
  CLI::App* limit =
      AddCommand(app, "limit", "Change how much of a region may be here; returns when it is so");
  limit->add_option("region", request.region, "which")->type_name("REGION")->required();
  limit->add_option("size", words.size, "new limit; larger than the region: none")
      ->type_name("SIZE")
      ->required();
  AddCommand(app, "detach", "Bring all of a region's memory home and let go; the VM runs all the time")
      ->add_option("region", request.region, "which")
      ->type_name("REGION")
      ->required();
  AddCommand(app, "migrations", "VMs that leave this node, or left it in the last ten minutes");
  CLI::App* resolve = AddCommand(app, "resolve", "Decide what becomes of pages that no sponsor has any more");
  resolve->add_option("region", request.region, "which")->type_name("REGION")->required();
  resolve
      ->add_option("--lost", words.lost,
                   "ask-again: the sponsor may be back with its memory. poison: a touch is a memory error, which ends "
                   "most programs. zero: the guest finds zeros where its data was")
      ->type_name("ask-again|poison|zero")
      ->required()
      ->check(Quiet(CLI::IsMember({"ask-again", "poison", "zero"})));
  resolve->add_flag("--yes", words.yes, "poison, zero: what was in these pages is given up for good");
  CLI::App* events = AddCommand(app, "events", "What happened");
  events->add_flag("--follow", request.events.follow, "go on until interrupted");
  events->add_option("--since", request.events.since, "only events after this sequence number")
      ->type_name("N");
  CLI::App* top = AddCommand(app, "top", "Faults, latencies and traffic of each region");
  top->add_option("--interval", words.interval, "seconds between samples [1]")
      ->type_name("SECONDS")
      ->check(Quiet(CLI::Range(0.1, 3600.0)));
  top->add_option("--count", words.count, "samples [no end on a terminal, 1 in a pipe]")
      ->type_name("N")
      ->check(Quiet(CLI::PositiveNumber));
  CLI::App* leases = AddCommand(app, "leases", "Memory that other nodes borrow from this one");
  CLI::App* free =
      AddCommand(*leases, "free", "End a quarantined lease; what its owner stored is gone for good");
  free->add_option("lease", words.lease, "which")->type_name("LEASE")->required();
  free->add_flag("--force", request.force, "also a lease that is in use: its VM loses memory");
  AddCommand(app, "version", "Versions of hecactl and hecad");
  AddCommand(app, "completion", "Print the shell's completion script")
      ->add_option("shell", words.shell, "bash")
      ->required()
      ->check(Quiet(CLI::IsMember({"bash"})));
}

void Declare(CLI::App& app, Request& request, Words& words) {
  app.footer(kEnd);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", fmt::format("hecactl {}", Version()));
  app.add_flag("--json", request.json, "One JSON document (events and top: one a line); keys in docs/cli.md");
  app.add_option("--socket", request.socket, fmt::format("hecad's socket [{}]", control::kDefaultSocket))
      ->type_name("PATH");
  app.add_option("--timeout", words.timeout,
                 "Give up after so long [30 for questions, none for long operations]")
      ->type_name("SECONDS")
      ->check(Quiet(CLI::Range(0.001, 1e6)));
  DeclareAttach(app, request, words);
  DeclareMigrate(app, request, words);
  DeclareSteer(app, request, words);
  DeclareXml(app, request, words);
  DeclareOthers(app, request, words);
}

Status CheckAttach(Request& request, const Words& words) {
  control::AttachSpec& spec = request.attach;
  if (!words.local.empty()) {
    auto local = ParseSize(words.local);
    if (!local.ok()) return local.status().WithContext("--local");
    spec.local_limit = *local;
  }
  if (!words.ratio.empty()) {
    auto ratio = ParseRatio(words.ratio);
    if (!ratio.ok()) return ratio.status().WithContext("--ratio");
    spec.ratio = *ratio;
  }
  spec.page_loss = words.on_loss == "poison" ? control::PageLoss::kPoison : control::PageLoss::kWait;
  spec.transport = TransportChoiceOf(words.travels);
  for (const std::string& option : words.options) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos || equals == 0) {
      return {ErrorCode::kInvalidArgument, fmt::format("--option: '{}' is not NAME=VALUE", option)};
    }
    spec.options.emplace_back(option.substr(0, equals), option.substr(equals + 1));
  }
  return Status();
}

control::MigrationMode ModeOf(const Words& words) {
  return words.mode == "hybrid"     ? control::MigrationMode::kHybrid
         : words.mode == "pre-copy" ? control::MigrationMode::kPreCopy
                                    : control::MigrationMode::kPostCopy;
}

Status TakeBandwidth(const Words& words, std::optional<std::uint64_t>& to) {
  if (words.bandwidth.empty()) return Status();
  if (words.bandwidth == "0") {  // no size of anything else may be nothing
    to = 0;
    return Status();
  }
  const auto bandwidth = ParseSize(words.bandwidth);
  if (!bandwidth.ok()) return bandwidth.status().WithContext("--bandwidth");
  to = bandwidth->value();
  return Status();
}

/// A number of words and flags that only go together is told apart here: CLI11 knows no such thing.
Status CheckMigrateDomain(const CLI::App& migrate, Request& request, const Words& words) {
  for (const char* option : {"--qmp", "--dest-pid"}) {
    if (migrate.count(option) == 0) continue;
    return {ErrorCode::kInvalidArgument, fmt::format("{} is for a QEMU that --pid names, not for a domain", option)};
  }
  const auto said = [](int flag) { return flag == 0 ? std::nullopt : std::optional(flag > 0); };
  DomainMove& move = request.move_domain.emplace(words.move);
  if (move.domain.empty()) move.domain = words.names.front();
  move.destination = words.names.back();
  move.persistent = said(words.persistent);
  move.undefine_source = said(words.undefine_source);
  if (migrate.count("--mode") != 0) move.order.mode = ModeOf(words);
  if (migrate.count("--downtime-ms") != 0) move.order.downtime_goal = Millis(words.downtime_ms);
  return TakeBandwidth(words, move.order.bandwidth);
}

Status CheckMigrate(const CLI::App& migrate, Request& request, const Words& words) {
  control::MigrateSpec& spec = request.migrate;
  const bool named = spec.pid != 0 || !words.move.domain.empty();
  if (words.names.size() != (named ? 1 : 2)) {
    return {ErrorCode::kInvalidArgument, named ? "say where to, and nothing else: hecactl migrate ... DEST"
                                               : "say what moves, and where to: hecactl migrate DOMAIN DEST"};
  }
  if (spec.pid == 0) return CheckMigrateDomain(migrate, request, words);
  for (const char* option : {"--connect", "--dest-uri", "--persistent", "--undefine-source"}) {
    if (migrate.count(option) != 0) {
      return {ErrorCode::kInvalidArgument, fmt::format("{} is for a libvirt domain, not for --pid", option)};
    }
  }
  spec.destination = words.names.front();
  spec.mode = ModeOf(words);
  spec.downtime_goal = Millis(words.downtime_ms);
  std::optional<std::uint64_t> bandwidth;
  HECA_RETURN_IF_ERROR(TakeBandwidth(words, bandwidth));
  spec.bandwidth = bandwidth.value_or(0);
  return Status();
}

Status CheckSteer(Request& request, const Words& words) {
  request.steer.region = request.region;
  HECA_RETURN_IF_ERROR(TakeBandwidth(words, request.steer.bandwidth));
  if (request.steer.switch_now || request.steer.bandwidth) return Status();
  return {ErrorCode::kInvalidArgument, "say what is to change: --switch-now or --bandwidth"};
}

Status CheckXml(Request& request, const Words& words) {
  const std::pair<const char*, const std::string&> parts[] = {{"ratio", words.ratio},
                                                              {"local", words.local},
                                                              {"replicas", words.replicas},
                                                              {"migration", words.migration},
                                                              {"transport", words.transport}};
  for (const auto& [name, value] : parts) {
    if (value.empty()) continue;
    const Status set = domain::SetWish(request.xml.wish, name, value);
    if (!set.ok()) return Status(set.code(), fmt::format("--{}", set.message()));
  }
  return Status();
}

Status CheckResolve(Request& request, const Words& words) {
  request.lost = words.lost == "poison" ? control::LostPages::kPoison
                 : words.lost == "zero" ? control::LostPages::kZero
                                        : control::LostPages::kAskAgain;
  if (request.lost == control::LostPages::kAskAgain || words.yes) return Status();
  return {ErrorCode::kInvalidArgument,
          fmt::format("--lost {} gives up for good what was in the lost pages of '{}'{}; add --yes if that is meant",
                      words.lost, request.region,
                      request.lost == control::LostPages::kZero ? ", and its guest goes on with zeros in their place"
                                                                : ", and a touch ends most programs")};
}

Command CommandOf(const std::string& verb) {
  constexpr std::pair<std::string_view, Command> kCommands[] = {
      {"doctor", Command::kDoctor},   {"status", Command::kStatus},   {"nodes", Command::kNodes},
      {"regions", Command::kRegions}, {"attach", Command::kAttach},   {"limit", Command::kLimit},
      {"detach", Command::kDetach},   {"events", Command::kEvents},   {"top", Command::kTop},
      {"leases", Command::kLeases},   {"version", Command::kVersion}, {"completion", Command::kText},
      {"resolve", Command::kResolve}, {"migrate", Command::kMigrate}, {"xml", Command::kXml},
      {"migrations", Command::kMigrations}, {"steer", Command::kSteer}};
  for (const auto& [word, command] : kCommands) {
    if (word == verb) return command;
  }
  return Command::kInvalid;
}

Status Check(const CLI::App& app, Request& request, const Words& words) {
  const CLI::App* chosen = app.get_subcommands().front();
  request.verb = chosen->get_name();
  request.command = CommandOf(request.verb);
  if (words.timeout > 0) request.timeout = Millis(static_cast<Millis::rep>(words.timeout * 1000 + 0.5));
  request.interval = Millis(static_cast<Millis::rep>(words.interval * 1000 + 0.5));
  if (words.count != 0) request.count = words.count;
  if (!chosen->get_subcommands().empty()) request.command = Command::kFreeLease;
  request.lease = LeaseId(words.lease);
  if (request.command == Command::kText) request.text = BashCompletion(app);
  if (request.command == Command::kAttach) return CheckAttach(request, words).WithContext("attach");
  if (request.command == Command::kMigrate) return CheckMigrate(*chosen, request, words).WithContext("migrate");
  if (request.command == Command::kSteer) return CheckSteer(request, words).WithContext("steer");
  if (request.command == Command::kXml) return CheckXml(request, words).WithContext("xml");
  if (request.command == Command::kResolve) return CheckResolve(request, words).WithContext("resolve");
  if (request.command == Command::kLimit) {
    auto size = ParseSize(words.size);
    if (!size.ok()) return size.status().WithContext("limit");
    request.limit = *size;
  }
  return Status();
}

/// What CLI11 says of a misspelt command is only that one is missing.
std::string UsageProblem(const CLI::App& app, std::span<const std::string> args,
                         const CLI::ParseError& error) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && app.get_subcommands().empty()) {
    const auto word =
        std::find_if(args.begin(), args.end(), [](const auto& arg) { return !arg.starts_with('-'); });
    if (word != args.end() && std::find(names.begin(), names.end(), *word) == names.end()) {
      const std::string_view nearest = Nearest(*word, {names.begin(), names.end()});
      return fmt::format("'{}' is no command{}", *word,
                         nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest));
    }
  }
  return error.what();
}

}  // namespace

Result<Request> ParseRequest(std::span<const std::string> args) {
  Request request;
  Words words;
  CLI::App app(kAbout, "hecactl");
  try {
    Declare(app, request, words);
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForHelp&) {
    // Of the innermost command that was named.
    const CLI::App* innermost = &app;
    while (!innermost->get_subcommands().empty()) innermost = innermost->get_subcommands().front();
    request.command = Command::kText;
    request.text = app.help();
    if (innermost != &app) {
      std::string path = "hecactl";
      for (const CLI::App* at = &app; at != innermost;)
        path += " " + (at = at->get_subcommands().front())->get_name();
      request.text = innermost->help(path.substr(0, path.rfind(' ')));
    }
    return request;
  } catch (const CLI::Success& version) {
    request.command = Command::kText;
    request.text = std::string(version.what()) + "\n";
    return request;
  } catch (const CLI::ParseError& error) {
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("{}; see hecactl --help", UsageProblem(app, args, error)));
  }
  HECA_RETURN_IF_ERROR(Check(app, request, words));
  return request;
}

}  // namespace heca::cli
