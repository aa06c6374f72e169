// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/facts.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace heca::guest {
namespace {

/// Splits "socket,id=heca,path=/a,,b" at single commas; two commas stand for one.
std::vector<std::string> SplitOption(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

std::optional<std::string> Value(const std::vector<std::string>& parts, std::string_view key) {
  for (const std::string& part : parts) {
    if (part.size() > key.size() && part.starts_with(key) && part[key.size()] == '=') {
      return part.substr(key.size() + 1);
    }
  }
  return std::nullopt;
}

bool HasWord(const std::vector<std::string>& parts, std::initializer_list<std::string_view> words) {
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
    return std::find(words.begin(), words.end(), part) != words.end();
  });
}

/// "unix:/path,server=on" of -qmp.
std::string UnixPath(const std::string& option) {
  constexpr std::string_view kUnix = "unix:";
  const std::vector<std::string> parts = SplitOption(option);
  return parts.front().starts_with(kUnix) ? parts.front().substr(kUnix.size()) : std::string();
}

std::string HecaChardevPath(const std::string& option) {
  if (option.starts_with('{')) {
    const Json chardev = Json::parse(option, nullptr, false);
    if (TextOf(chardev, "id") != "heca") return {};
    return TextOf(Member(Member(Member(Member(chardev, "backend"), "data"), "addr"), "data"), "path");
  }
  const std::vector<std::string> parts = SplitOption(option);
  return Value(parts, "id") == "heca" ? Value(parts, "path").value_or("") : std::string();
}

Status GatherQemu(GuestFacts& facts, Qmp& qmp, Deadline deadline) {
  facts.by_qmp = true;
  HECA_ASSIGN_OR_RETURN(facts.backends, QueryBackends(qmp, deadline));
  HECA_ASSIGN_OR_RETURN(const std::string qtree, qmp.HumanCommand("info qtree", deadline));
  facts.device_types = ParseQtreeTypes(qtree);
  HECA_ASSIGN_OR_RETURN(const std::string network, qmp.HumanCommand("info network", deadline));
  facts.netdev_types = ParseNetworkTypes(network);
  HECA_ASSIGN_OR_RETURN(const Json nodes, qmp.Execute("query-named-block-nodes", {{"flat", true}}, deadline));
  facts.block_nodes = ParseBlockNodes(nodes);
  HECA_ASSIGN_OR_RETURN(const Json objects, qmp.Execute("qom-list", {{"path", "/objects"}}, deadline));
  for (const Json& object : ElementsOf(objects)) facts.object_types.push_back(TextOf(object, "type"));
  HECA_ASSIGN_OR_RETURN(const Json kvm, qmp.Execute("query-kvm", {}, deadline));
  facts.kvm = FlagOf(kvm, "enabled");
  HECA_ASSIGN_OR_RETURN(const Json cpus, qmp.Execute("query-cpus-fast", {}, deadline));
  for (const Json& cpu : ElementsOf(cpus)) {
    for (const char* flag : {"svm", "vmx"}) {
      const Result<Json> on =
          qmp.Execute("qom-get", {{"path", TextOf(cpu, "qom-path")}, {"property", flag}}, deadline);
      facts.nested |= on.ok() && on->is_boolean() && on->get<bool>();
    }
    break;  // all vCPUs of a guest have the same features
  }
  return Status();
}

bool Overlaps(const os::Mapping& a, const os::Mapping& b) { return a.start < b.end && b.start < a.end; }

}  // namespace

QemuCmdline ParseQemuCmdline(const std::vector<std::string>& words) {
  QemuCmdline cmdline;
  if (words.empty()) return cmdline;
  const std::string program = words[0].substr(words[0].rfind('/') + 1);
  cmdline.is_qemu = program.starts_with("qemu-system-") || program.starts_with("qemu-kvm") || program == "kvm";
  std::string first_qmp;
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    std::string option = words[i];
    if (option.starts_with("--")) option.erase(0, 1);
    const std::string& value = words[i + 1];
    const std::vector<std::string> parts = SplitOption(value);
    if (option == "-name") {
      cmdline.name = Value(parts, "guest").value_or(parts.front());
    } else if (option == "-uuid") {
      cmdline.uuid = value;
    } else if (option == "-chardev" && cmdline.qmp_path.empty()) {
      cmdline.qmp_path = HecaChardevPath(value);
    } else if (option == "-qmp" && first_qmp.empty()) {
      first_qmp = UnixPath(value);
    } else if (option == "-overcommit") {
      cmdline.mem_lock |= HasWord(parts, {"mem-lock=on", "mem-lock=yes", "mem-lock=true"});
    } else if (option == "-realtime") {
      cmdline.mem_lock |= HasWord(parts, {"mlock=on"});
    }
  }
  if (cmdline.qmp_path.empty()) cmdline.qmp_path = first_qmp;
  return cmdline;
}

std::vector<std::string> ParseQtreeTypes(std::string_view text) {
  constexpr std::string_view kDevice = "dev: ";
  std::vector<std::string> types;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (!line.starts_with(kDevice)) continue;
    line.remove_prefix(kDevice.size());
    types.emplace_back(line.substr(0, line.find(',')));
  }
  return types;
}

std::vector<std::string> ParseNetworkTypes(std::string_view text) {
  constexpr std::string_view kType = "type=";
  std::vector<std::string> types;
  for (std::size_t at = text.find(kType); at != std::string_view::npos; at = text.find(kType, at)) {
    at += kType.size();
    types.emplace_back(text.substr(at, text.find_first_of(",\n\r ", at) - at));
  }
  return types;
}

std::vector<BlockNode> ParseBlockNodes(const Json& named_block_nodes) {
  std::vector<BlockNode> nodes;
  for (const Json& node : ElementsOf(named_block_nodes)) {
    nodes.push_back({TextOf(node, "drv"), TextOf(node, "file"), FlagOf(Member(node, "cache"), "direct")});
  }
  return nodes;
}

std::vector<OtherMapper> FindOtherMappers(pid_t pid, const std::vector<os::Mapping>& ram) {
  std::vector<OtherMapper> others;
  const pid_t self = ::getpid();
  for (const pid_t other : os::ListProcesses()) {
    if (other == pid || other == self) continue;
    const Result<std::vector<os::Mapping>> maps = os::ReadMaps(other);
    if (!maps.ok()) continue;
    const bool maps_ram = std::any_of(maps->begin(), maps->end(), [&](const os::Mapping& m) {
      return m.inode != 0 && std::any_of(ram.begin(), ram.end(), [&](const os::Mapping& r) {
        return r.inode == m.inode && r.device == m.device;
      });
    });
    if (!maps_ram) continue;
    const Result<os::ProcessStatus> status = os::ReadStatus(other);
    others.push_back({other, status.ok() ? status->name : "?"});
  }
  return others;
}

Result<GuestFacts> GatherFacts(pid_t pid, Qmp* qmp, const MappingChoice& choice, Deadline deadline) {
  GuestFacts facts;
  facts.pid = pid;
  HECA_ASSIGN_OR_RETURN(facts.status, os::ReadStatus(pid));
  HECA_ASSIGN_OR_RETURN(const std::vector<std::string> words, os::ReadCmdline(pid));
  facts.cmdline = ParseQemuCmdline(words);
  HECA_ASSIGN_OR_RETURN(facts.files, os::ListOpenFiles(pid));
  HECA_ASSIGN_OR_RETURN(std::vector<os::Mapping> maps, os::ReadMaps(pid));
  maps = MergeAdjacent(std::move(maps));
  if (qmp != nullptr) {
    HECA_RETURN_IF_ERROR(GatherQemu(facts, *qmp, deadline));
    for (const MemoryBackend& backend : facts.backends) {
      if (auto mapping = FindBackendMapping(backend, maps)) facts.ram.push_back(std::move(*mapping));
    }
  } else {
    const Result<std::vector<RamBlock>> blocks = ProcessRamBlocks(pid, choice);
    if (blocks.ok()) {
      for (const RamBlock& block : *blocks) {
        for (const os::Mapping& m : maps) {
          if (m.start == block.address) facts.ram.push_back(m);
        }
      }
    }
  }
  if (facts.status.locked_bytes > 0) {
    HECA_ASSIGN_OR_RETURN(const std::vector<os::Mapping> locked, os::ReadLockedMaps(pid));
    for (const os::Mapping& m : locked) {
      if (std::any_of(facts.ram.begin(), facts.ram.end(), [&](const os::Mapping& r) { return Overlaps(r, m); })) {
        facts.locked.push_back(m);
      }
    }
  }
  facts.other_mappers = FindOtherMappers(pid, facts.ram);
  return facts;
}

}  // namespace heca::guest
