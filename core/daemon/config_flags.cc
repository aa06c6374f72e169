// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <fstream>
#include <map>
#include <sstream>

#include "base/nearest.h"
#include "base/version.h"
#include "daemon/config_load.h"
#include "daemon/config_options.h"

namespace heca::daemon {
namespace {

constexpr const char* kAbout =
    "hecad: memory of VMs beyond their host. Governs the memory of local VMs (see hecactl) and lends memory "
    "to other\n"
    "nodes (--donate). Reads /etc/heca/hecad.toml; every key of it is a flag here, and the flag wins.";
constexpr const char* kEnd =
    "Signals: TERM and INT end hecad cleanly; regions stay governed, their VMs wait for the next hecad where "
    "they\n"
    "         touch memory that is away. `hecactl detach` brings memory home first.\n"
    "Exit:    0 stopped as asked, 1 failed, 2 refused flags or configuration, 3 the host lacks something "
    "(said which)";

struct Flags {
  std::string file;
  std::map<std::string_view, std::string> values;
  std::vector<std::string> peers;
  bool check = false;
  bool print = false;
};

void Declare(CLI::App& app, Flags& flags) {
  app.add_option("-c,--config", flags.file, "Configuration file [/etc/heca/hecad.toml]")->type_name("FILE");
  app.add_flag("--check-config", flags.check, "Check flags and file, print nothing, exit 0 or 2");
  app.add_flag("--print-config", flags.print, "Print the configuration in force as hecad.toml, and exit");
  app.set_version_flag("--version", fmt::format("hecad {}", Version()));
  const Config defaults;
  for (const Option& option : Options()) {
    const std::string text = option.get(defaults);
    const std::string shown = option.kind == ValueKind::kSwitch ? (text == "true" ? "on" : "off") : text;
    app.add_option("--" + std::string(option.key), flags.values[option.key],
                   fmt::format("{}{}", option.help, shown.empty() ? "" : fmt::format(" [{}]", shown)))
        ->type_name(std::string(option.value))
        ->group(std::string(option.group));
  }
  app.add_option("--peer", flags.peers, "Another node, by the address of its control plane; may be repeated.")
      ->type_name("NAME=HOST:PORT[,DOMAIN]")
      ->allow_extra_args(false)
      ->group("Peers");
}

/// Reads the file; a missing default file is an empty one.
void ApplyFile(const Flags& flags, Invocation& made, Origins& origins) {
  const std::string file = flags.file.empty() ? std::string(kDefaultConfigFile) : flags.file;
  std::ifstream stream(file);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  if (!stream) {
    if (flags.file.empty() && errno == ENOENT) return;
    made.problems.Add("--config", "",
                      std::string(Status::FromErrno(errno, file + " cannot be read").message()));
    return;
  }
  ApplyToml(text.str(), file, made.config, origins, made.problems);
}

void ApplyFlags(const CLI::App& app, const Flags& flags, Invocation& made, Origins& origins) {
  for (const Option& option : Options()) {
    const std::string flag = "--" + std::string(option.key);
    if (app.count(flag) == 0) continue;
    const Status set = option.set(made.config, flags.values.at(option.key));
    if (!set.ok()) made.problems.Add(flag, "", set.message());
    origins[std::string(option.key)] = flag;
  }
  if (flags.peers.empty()) return;
  made.config.peers.clear();
  origins["peer"] = "--peer";
  for (const std::string& text : flags.peers) {
    Result<Peer> peer = ParsePeer(text);
    if (peer.ok()) {
      made.config.peers.push_back(std::move(peer).value());
    } else {
      made.problems.Add("--peer", "", peer.status().message());
    }
  }
}

/// CLI11's text for an unknown flag, with the flag that was probably meant.
std::string UsageProblem(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what();
  std::vector<std::string_view> known;
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  known.assign(names.begin(), names.end());
  for (const std::string& rest : app.remaining()) {
    const std::string_view nearest = Nearest(rest, known);
    if (!nearest.empty()) text += fmt::format("; did you mean {}?", nearest);
  }
  return text;
}

}  // namespace

Invocation ParseInvocation(std::span<const std::string> args) {
  Invocation made;
  Flags flags;
  CLI::App app(kAbout, "hecad");
  app.footer(kEnd);
  app.get_formatter()->column_width(38);
  Declare(app, flags);
  try {
    std::vector<std::string> reversed(args.rbegin(), args.rend());
    app.parse(std::move(reversed));
  } catch (const CLI::Success& asked) {
    made.action = Action::kPrintText;
    made.text = dynamic_cast<const CLI::CallForHelp*>(&asked) != nullptr ? app.help()
                                                                         : std::string(asked.what()) + "\n";
    return made;
  } catch (const CLI::ParseError& error) {
    made.action = Action::kRefused;
    made.problems.Add("command line", "", UsageProblem(app, error));
    return made;
  }
  Origins origins;
  ApplyFile(flags, made, origins);
  ApplyFlags(app, flags, made, origins);
  if (made.problems.empty()) Finish(made.config, origins, made.problems);
  made.action = !made.problems.empty() ? Action::kRefused
                : flags.check          ? Action::kCheckConfig
                : flags.print          ? Action::kPrintConfig
                                       : Action::kRun;
  return made;
}

}  // namespace heca::daemon
