// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/config_load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <set>

#include "base/size.h"
#include "daemon/config_options.h"

namespace heca::daemon {
namespace {

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || !CheckName(name).ok()) return "localhost";
  return name;
}

std::string_view OriginOf(const Origins& origins, std::string_view first, std::string_view second) {
  for (const std::string_view key : {first, second}) {
    if (const auto found = origins.find(key); found != origins.end()) return found->second;
  }
  return "default";
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string Literal(const Option& option, const Config& config) {
  const std::string value = option.get(config);
  const bool bare = option.kind == ValueKind::kNumber || option.kind == ValueKind::kSwitch;
  return bare ? value : Quoted(value);
}

std::string Render(const Config& config, std::string_view prefix) {
  std::string text;
  std::string_view group;
  for (const Option& option : Options()) {
    if (option.group != group) text += fmt::format("{}## {}\n", group.empty() ? "" : "\n", option.group);
    group = option.group;
    text += fmt::format("# {}\n{}{} = {}\n", option.help, prefix, option.key, Literal(option, config));
  }
  return text;
}

}  // namespace

void Problems::Add(std::string_view where, std::string_view key, std::string_view text) {
  lines.push_back(key.empty() ? fmt::format("{}: {}", where, text)
                              : fmt::format("{}: {}: {}", where, key, text));
}

void Finish(Config& config, const Origins& origins, Problems& problems) {
  if (config.name.empty()) config.name = HostName();
  if (config.watermark_low >= config.watermark_high) {
    problems.Add(OriginOf(origins, "watermark-low", "watermark-high"), "watermark-low",
                 fmt::format("{} is not below watermark-high, {}: eviction would never rest",
                             config.watermark_low, config.watermark_high));
  }
  if (config.donate.value() != 0 && config.donate < config.slab_size) {
    problems.Add(OriginOf(origins, "donate", "slab-size"), "donate",
                 fmt::format("{} is less than one slab of {}: raise donate or lower slab-size",
                             FormatSizeExact(config.donate), FormatSizeExact(config.slab_size)));
  }
  if (config.control_listen == config.data_listen && !config.control_listen.ends_with(":0")) {
    problems.Add(
        OriginOf(origins, "data-listen", "control-listen"), "data-listen",
        fmt::format("{} is the address of control-listen too: give each its own port", config.data_listen));
  }
  if (!config.compute && config.donate.value() == 0) {
    problems.Add(OriginOf(origins, "compute", "donate"), "compute",
                 "off and nothing donated leaves hecad without a job: set donate or switch compute on");
  }
  std::set<std::string_view> names;
  for (const Peer& peer : config.peers) {
    if (!names.insert(peer.name).second) {
      problems.Add(OriginOf(origins, "peer", "peer"), "peer", fmt::format("'{}' is there twice", peer.name));
    }
    if (peer.name == config.name) {
      problems.Add(OriginOf(origins, "peer", "name"), "peer",
                   fmt::format("'{}' is this node itself: leave it out or set name", peer.name));
    }
  }
}

std::string PrintConfig(const Config& config) {
  std::string text = Render(config, "");
  for (const Peer& peer : config.peers) {
    text += fmt::format("\n[[peer]]\nname = {}\naddress = {}\n", Quoted(peer.name), Quoted(peer.address));
    if (!peer.failure_domain.empty())
      text += fmt::format("failure-domain = {}\n", Quoted(peer.failure_domain));
  }
  return text;
}

std::string ExampleConfig() {
  return "# hecad.toml: configuration of hecad. Each key is also a flag (donate = \"8GiB\" is --donate 8GiB) "
         "and the flag\n"
         "# wins. What is commented out shows the default. Check with: hecad --check-config\n\n" +
         Render(Config(), "#") +
         "\n## Other nodes: one block each, with the address of its control plane (its control-listen). "
         "Peers lend\n"
         "## memory to the VMs of this node. As a flag: --peer m1=10.1.0.3:7300,rack2\n"
         "#[[peer]]\n#name = \"m1\"\n#address = \"10.1.0.3:7300\"\n#failure-domain = \"rack2\"\n";
}

}  // namespace heca::daemon
