#include "plugin.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

namespace Steinberg {
namespace Vst {
DEF_CLASS_IID (IComponent)
DEF_CLASS_IID (IAudioProcessor)
DEF_CLASS_IID (IEditController)
DEF_CLASS_IID (IProcessContextRequirements)
DEF_CLASS_IID (IMidiMapping)
} // namespace Vst
} // namespace Steinberg

namespace conformance {
namespace {

constexpr uint32 kStateMagic = 0x46435652; // "RVCF", read as little-endian
constexpr uint32 kStateVersion = 1;

struct StateHeader
{
    uint32 magic;
    uint32 version;
    uint32 count;
};

struct StateEntry
{
    uint32 id;
    uint32 reserved;
    double normalised;
};

void copy_text (TChar* destination, const std::string& text)
{
    const size_t length = std::min<size_t> (text.size(), 127);
    for (size_t i = 0; i < length; ++i)
        destination[i] = static_cast<TChar> (static_cast<unsigned char> (text[i]));
    destination[length] = 0;
}

std::string read_text (const TChar* source)
{
    std::string text;
    for (int i = 0; i < 127 && source[i] != 0; ++i)
        text.push_back (static_cast<char> (source[i]));
    return text;
}

bool read_exactly (IBStream* stream, void* destination, int32 bytes)
{
    int32 received = 0;
    return stream->read (destination, bytes, &received) == kResultOk && received == bytes;
}

SpeakerArrangement arrangement_of (int channels)
{
    return (SpeakerArrangement (1) << channels) - 1;
}

struct Point
{
    int32 offset;
    ParamID id;
    double normalised;
};

std::vector<Point> sorted_points (IParameterChanges* changes)
{
    std::vector<Point> points;
    const int32 n_queues = changes ? changes->getParameterCount() : 0;
    for (int32 q = 0; q < n_queues; ++q)
    {
        IParamValueQueue* queue = changes->getParameterData (q);
        for (int32 p = 0; queue && p < queue->getPointCount(); ++p)
        {
            Point point { 0, queue->getParameterId(), 0.0 };
            if (queue->getPoint (p, point.offset, point.normalised) == kResultOk)
                points.push_back (point);
        }
    }
    std::stable_sort (points.begin(), points.end(),
                      [] (const Point& a, const Point& b) { return a.offset < b.offset; });
    return points;
}

std::vector<Event> all_events (IEventList* list)
{
    std::vector<Event> events;
    const int32 count = list ? list->getEventCount() : 0;
    for (int32 i = 0; i < count; ++i)
    {
        Event event {};
        if (list->getEvent (i, event) == kResultOk)
            events.push_back (event);
    }
    std::stable_sort (events.begin(), events.end(),
                      [] (const Event& a, const Event& b) { return a.sampleOffset < b.sampleOffset; });
    return events;
}

void misbehave_at_load()
{
    const std::string fault = bundle_setting ("load");
    if (fault == "crash")
        std::raise (SIGSEGV);
    while (fault == "hang")
        usleep (100000);
}

int names_library (dl_phdr_info* library, size_t, void* word)
{
    return std::strstr (library->dlpi_name, static_cast<const char*> (word)) != nullptr;
}

void talk()
{
    std::puts ("conformance: a line on the standard output");
    std::fputs ("conformance: a line on the standard error\n", stderr);
    std::fflush (nullptr);
}

} // namespace

double Parameter::to_plain (double normalised) const
{
    const double position = std::clamp (normalised, 0.0, 1.0);
    if (steps > 0)
        return minimum + std::min<double> (steps, std::floor (position * (steps + 1)));
    if (is_logarithmic)
        return minimum * std::pow (maximum / minimum, position);
    return minimum + position * (maximum - minimum);
}

double Parameter::to_normalised (double plain) const
{
    const double bounded = std::clamp (plain, minimum, maximum);
    if (is_logarithmic)
        return std::log (bounded / minimum) / std::log (maximum / minimum);
    return (bounded - minimum) / (maximum - minimum);
}

std::string Parameter::to_text (double normalised, double sample_rate) const
{
    double plain = to_plain (normalised);
    if (! choices.empty())
        return choices[static_cast<size_t> (plain - minimum)];
    if (lowest_text && normalised <= 0.0)
        return lowest_text;
    if (shows_ms)
        plain *= 1000.0 / sample_rate;
    char text[64];
    std::snprintf (text, sizeof text, steps > 0 ? "%.0f" : "%.2f", plain);
    return text;
}

bool Parameter::from_text (const std::string& text, double& normalised) const
{
    for (size_t i = 0; i < choices.size(); ++i)
    {
        if (text == choices[i])
        {
            normalised = to_normalised (minimum + static_cast<double> (i));
            return true;
        }
    }
    char* end = nullptr;
    const double plain = std::strtod (text.c_str(), &end);
    if (end == text.c_str())
        return false;
    normalised = to_normalised (plain);
    return true;
}

std::string bundle_setting (const std::string& key)
{
    Dl_info info {};
    if (dladdr (reinterpret_cast<void*> (&bundle_setting), &info) == 0)
        return {};
    std::string path = info.dli_fname; // <bundle>/Contents/<architecture>/<name>.so
    for (int levels = 0; levels < 2; ++levels)
        path = path.substr (0, path.find_last_of ('/'));
    path += "/Resources/conformance.txt";
    std::FILE* file = std::fopen (path.c_str(), "r");
    char found[32], text[32];
    std::string setting;
    while (file && std::fscanf (file, "%31s %31s", found, text) == 2)
        if (key == found)
            setting = text;
    if (file)
        std::fclose (file);
    return setting;
}

bool is_wanted_host()
{
    std::string host = bundle_setting ("host");
    return host.empty() || dl_iterate_phdr (names_library, host.data()) != 0;
}

bool misbehaves_here (const Identity& identity)
{
    std::string host = bundle_setting ("in");
    return std::string (identity.name).find (bundle_setting ("plugin")) != std::string::npos
           && (host.empty() || dl_iterate_phdr (names_library, host.data()) != 0);
}

Plugin::Plugin (const Identity& identity, std::vector<Parameter> parameters)
    : identity_ (identity), parameters_ (std::move (parameters)),
      normalised_ (new std::atomic<double>[parameters_.size()]), n_outputs_ (bundle_setting ("outputs") == "2" ? 2 : 1),
      is_widener_ (bundle_setting ("layout") == "1to2"),
      has_state_ (bundle_setting ("state") != "none"), notifies_ (bundle_setting ("notify") != "off"),
      clears_ (bundle_setting ("clear") != "off"), is_talkative_ (bundle_setting ("chatter") == "on")
{
    if (misbehaves_here (identity))
        misbehave_at_load();
    if (is_talkative_)
        talk();
    for (size_t i = 0; i < parameters_.size(); ++i)
        normalised_[i] = parameters_[i].to_normalised (parameters_[i].default_value);
    const std::string channels = bundle_setting ("channels");
    if (! channels.empty())
    {
        required_channels_ = std::clamp (std::atoi (channels.c_str()), 1, kMaxChannels);
        main_arrangement_ = arrangement_of (required_channels_);
    }
}

double Plugin::value (ParamID id) const
{
    const size_t index = index_of (id);
    return parameters_[index].to_plain (normalised_[index]);
}

void Plugin::set_value (ParamID id, double plain)
{
    const size_t index = index_of (id);
    normalised_[index] = parameters_[index].to_normalised (plain);
}

size_t Plugin::index_of (ParamID id) const
{
    size_t index = 0;
    while (index < parameters_.size() && parameters_[index].id != id)
        ++index;
    return index;
}

void Plugin::apply (ParamID id, double normalised)
{
    const size_t index = index_of (id);
    if (index < parameters_.size())
        normalised_[index] = std::clamp (normalised, 0.0, 1.0);
}

void Plugin::write (ParamID id, double normalised, bool is_processing)
{
    apply (id, normalised);
    value_written (id, is_processing);
}

void Plugin::report_meter (ProcessData& data)
{
    ParamID id = 0;
    double plain = 0.0;
    int32 index = 0;
    if (! data.outputParameterChanges || ! measure (id, plain))
        return;
    set_value (id, plain);
    if (IParamValueQueue* queue = data.outputParameterChanges->addParameterData (id, index))
        queue->addPoint (0, normalised_[index_of (id)], index);
}

void Plugin::tell_host (int32 flags)
{
    if (handler_)
        handler_->restartComponent (flags);
}

void Plugin::announce_latency()
{
    if (latency_samples() == announced_latency_)
        return;
    announced_latency_ = latency_samples();
    tell_host (kLatencyChanged);
}

// FUnknown ------------------------------------------------------------------------------------------------

tresult PLUGIN_API Plugin::queryInterface (const TUID iid, void** object)
{
    QUERY_INTERFACE (iid, object, FUnknown::iid, IComponent)
    QUERY_INTERFACE (iid, object, IPluginBase::iid, IComponent)
    QUERY_INTERFACE (iid, object, IComponent::iid, IComponent)
    QUERY_INTERFACE (iid, object, IAudioProcessor::iid, IAudioProcessor)
    QUERY_INTERFACE (iid, object, IEditController::iid, IEditController)
    QUERY_INTERFACE (iid, object, IProcessContextRequirements::iid, IProcessContextRequirements)
    QUERY_INTERFACE (iid, object, IMidiMapping::iid, IMidiMapping)
    *object = nullptr;
    return kNoInterface;
}

uint32 PLUGIN_API Plugin::addRef() { return static_cast<uint32> (++references_); }

uint32 PLUGIN_API Plugin::release()
{
    const int32 left = --references_;
    if (left == 0)
        delete this;
    return static_cast<uint32> (left);
}

// IPluginBase ---------------------------------------------------------------------------------------------

tresult PLUGIN_API Plugin::initialize (FUnknown*) { return kResultOk; }

tresult PLUGIN_API Plugin::terminate() { return setComponentHandler (nullptr); }

// IComponent ----------------------------------------------------------------------------------------------

tresult PLUGIN_API Plugin::getControllerClassId (TUID) { return kNotImplemented; }

tresult PLUGIN_API Plugin::setIoMode (IoMode) { return kNotImplemented; }

int32 PLUGIN_API Plugin::getBusCount (MediaType type, BusDirection direction)
{
    if (type == kEvent)
        return direction == kInput ? 1 : 0;
    if (direction == kOutput)
        return n_outputs_;
    return identity_.is_instrument ? 0 : (identity_.has_sidechain ? 2 : 1);
}

tresult PLUGIN_API Plugin::getBusInfo (MediaType type, BusDirection direction, int32 index, BusInfo& bus)
{
    if (index < 0 || index >= getBusCount (type, direction))
        return kInvalidArgument;
    const bool is_sidechain = type == kAudio && direction == kInput && index == 1;
    bus.mediaType = type;
    bus.direction = direction;
    bus.busType = is_sidechain ? kAux : kMain;
    bus.flags = is_sidechain ? 0 : static_cast<uint32> (BusInfo::kDefaultActive);
    if (type == kEvent)
        bus.channelCount = 16;
    else
    {
        SpeakerArrangement arrangement {};
        getBusArrangement (direction, index, arrangement);
        bus.channelCount = SpeakerArr::getChannelCount (arrangement);
    }
    copy_text (bus.name, type == kEvent ? "Events" : is_sidechain ? "Sidechain" : "Main");
    return kResultOk;
}

tresult PLUGIN_API Plugin::getRoutingInfo (RoutingInfo&, RoutingInfo&) { return kNotImplemented; }

tresult PLUGIN_API Plugin::activateBus (MediaType, BusDirection, int32, TBool) { return kResultOk; }

tresult PLUGIN_API Plugin::setActive (TBool state)
{
    if (state)
    {
        if (clears_ || ! is_cleared_)
            clear();
        is_cleared_ = true;
        announced_latency_ = latency_samples();
    }
    return kResultOk;
}

tresult PLUGIN_API Plugin::setState (IBStream* stream)
{
    StateHeader header {};
    if (! has_state_)
        return kNotImplemented;
    if (! stream || ! read_exactly (stream, &header, sizeof header))
        return kResultFalse;
    if (header.magic != kStateMagic || header.version != kStateVersion || header.count > 1024)
        return kResultFalse;
    std::vector<StateEntry> entries (header.count);
    if (! read_exactly (stream, entries.data(), static_cast<int32> (sizeof (StateEntry) * entries.size())))
        return kResultFalse;
    for (const StateEntry& entry : entries)
        apply (entry.id, entry.normalised);
    if (notifies_)
        tell_host (kParamValuesChanged);
    announce_latency();
    return kResultOk;
}

tresult PLUGIN_API Plugin::getState (IBStream* stream)
{
    if (! has_state_)
        return kNotImplemented;
    StateHeader header { kStateMagic, kStateVersion, static_cast<uint32> (parameters_.size()) };
    if (writes_garbage_state())
        header = { 0xDEADBEEF, 0xDEADBEEF, 0xDEADBEEF };
    std::vector<StateEntry> entries;
    for (size_t i = 0; i < parameters_.size(); ++i)
        entries.push_back ({ parameters_[i].id, 0, normalised_[i] });
    stream->write (&header, sizeof header);
    return stream->write (entries.data(), static_cast<int32> (sizeof (StateEntry) * entries.size()));
}

// IAudioProcessor -----------------------------------------------------------------------------------------

tresult PLUGIN_API Plugin::setBusArrangements (SpeakerArrangement* inputs, int32 n_inputs,
                                               SpeakerArrangement* outputs, int32 n_outputs)
{
    if (n_outputs != n_outputs_ || n_inputs != getBusCount (kAudio, kInput))
        return kResultFalse;
    const int channels = SpeakerArr::getChannelCount (outputs[0]);
    if (is_widener_)
        return channels == 2 && SpeakerArr::getChannelCount (inputs[0]) == 1 ? kResultOk : kResultFalse;
    const bool is_accepted = required_channels_ ? channels == required_channels_ : channels == 1 || channels == 2;
    if (! is_accepted || (n_inputs > 0 && SpeakerArr::getChannelCount (inputs[0]) != channels))
        return kResultFalse;
    if (n_inputs > 1)
    {
        if (SpeakerArr::getChannelCount (inputs[1]) > 2)
            return kResultFalse;
        sidechain_arrangement_ = inputs[1];
    }
    main_arrangement_ = outputs[0];
    return kResultOk;
}

tresult PLUGIN_API Plugin::getBusArrangement (BusDirection direction, int32 index, SpeakerArrangement& arrangement)
{
    if (index < 0 || index >= getBusCount (kAudio, direction))
        return kInvalidArgument;
    arrangement = direction == kInput && index == 1 ? sidechain_arrangement_ : main_arrangement_;
    if (is_widener_ && direction == kInput)
        arrangement = SpeakerArr::kMono;
    return kResultOk;
}

tresult PLUGIN_API Plugin::canProcessSampleSize (int32 size)
{
    return size == kSample32 ? kResultOk : kResultFalse;
}

uint32 PLUGIN_API Plugin::getLatencySamples() { return latency_samples(); }

tresult PLUGIN_API Plugin::setupProcessing (ProcessSetup& setup)
{
    sample_rate_ = setup.sampleRate;
    return kResultOk;
}

tresult PLUGIN_API Plugin::setProcessing (TBool) { return kResultOk; }

tresult PLUGIN_API Plugin::process (ProcessData& data)
{
    const std::vector<Point> points = sorted_points (data.inputParameterChanges);
    const std::vector<Event> events = all_events (data.inputEvents);
    const bool has_output = data.numOutputs > 0 && data.outputs[0].channelBuffers32;
    const bool has_input = identity_.is_instrument || (data.numInputs > 0 && data.inputs[0].channelBuffers32);

    size_t point = 0, event = 0;
    auto apply_until = [&] (int32 offset) {
        for (; point < points.size() && points[point].offset <= offset; ++point)
            write (points[point].id, points[point].normalised, true);
        for (; event < events.size() && events[event].sampleOffset <= offset; ++event)
            handle_event (events[event]);
    };

    apply_until (0);
    begin_block (data);
    announce_latency();
    if (has_output && has_input)
    {
        const bool has_sidechain = data.numInputs > 1 && data.inputs[1].channelBuffers32;
        float *inputs[kMaxChannels] {}, *sidechain[kMaxChannels] {}, *outputs[kMaxChannels] {};
        Block block { inputs, sidechain, outputs, std::min<int> (data.outputs[0].numChannels, kMaxChannels),
                      has_sidechain ? std::min<int> (data.inputs[1].numChannels, kMaxChannels) : 0, 0 };
        if (! identity_.is_instrument && ! is_widener_)
            block.channels = std::min<int> (block.channels, data.inputs[0].numChannels);

        for (int32 start = 0; start < data.numSamples; start += block.samples)
        {
            apply_until (start);
            int32 end = data.numSamples;
            if (point < points.size())
                end = std::min (end, points[point].offset);
            if (event < events.size())
                end = std::min (end, events[event].sampleOffset);
            block.samples = end - start;
            for (int c = 0; c < block.channels; ++c)
            {
                outputs[c] = data.outputs[0].channelBuffers32[c] + start;
                inputs[c] = identity_.is_instrument ? nullptr : data.inputs[0].channelBuffers32[is_widener_ ? 0 : c] + start;
            }
            for (int c = 0; c < block.sidechain_channels; ++c)
                sidechain[c] = data.inputs[1].channelBuffers32[c] + start;
            render (block);
        }
        data.outputs[0].silenceFlags = 0;
        for (int32 bus = 1; bus < data.numOutputs && data.outputs[bus].channelBuffers32; ++bus)
            for (int32 c = 0; c < std::min (data.outputs[bus].numChannels, block.channels); ++c)
                for (int32 i = 0; i < data.numSamples; ++i)
                    data.outputs[bus].channelBuffers32[c][i] = -data.outputs[0].channelBuffers32[c][i];
    }
    apply_until (data.numSamples);
    report_meter (data);
    if (is_talkative_)
        talk();
    return kResultOk;
}

uint32 PLUGIN_API Plugin::getTailSamples() { return tail_samples(); }

// IEditController -----------------------------------------------------------------------------------------

tresult PLUGIN_API Plugin::setComponentState (IBStream* stream) { return setState (stream); }

int32 PLUGIN_API Plugin::getParameterCount() { return static_cast<int32> (parameters_.size()); }

tresult PLUGIN_API Plugin::getParameterInfo (int32 index, ParameterInfo& info)
{
    if (index < 0 || index >= getParameterCount())
        return kInvalidArgument;
    const Parameter& parameter = parameters_[static_cast<size_t> (index)];
    info = ParameterInfo {};
    info.id = parameter.id;
    copy_text (info.title, parameter.title);
    copy_text (info.shortTitle, parameter.title);
    copy_text (info.units, parameter.units);
    info.stepCount = parameter.steps;
    info.defaultNormalizedValue = parameter.to_normalised (parameter.default_value);
    info.flags = parameter.extra_flags | (parameter.is_automatable() ? ParameterInfo::kCanAutomate : 0);
    if (! parameter.choices.empty())
        info.flags |= ParameterInfo::kIsList;
    return kResultOk;
}

tresult PLUGIN_API Plugin::getParamStringByValue (ParamID id, ParamValue value, String128 text)
{
    const size_t index = index_of (id);
    if (index == parameters_.size())
        return kInvalidArgument;
    copy_text (text, parameters_[index].to_text (value, sample_rate_));
    return kResultOk;
}

tresult PLUGIN_API Plugin::getParamValueByString (ParamID id, TChar* text, ParamValue& value)
{
    const size_t index = index_of (id);
    if (index == parameters_.size())
        return kInvalidArgument;
    return parameters_[index].from_text (read_text (text), value) ? kResultOk : kResultFalse;
}

ParamValue PLUGIN_API Plugin::normalizedParamToPlain (ParamID id, ParamValue value)
{
    const size_t index = index_of (id);
    return index < parameters_.size() ? parameters_[index].to_plain (value) : value;
}

ParamValue PLUGIN_API Plugin::plainParamToNormalized (ParamID id, ParamValue value)
{
    const size_t index = index_of (id);
    return index < parameters_.size() ? parameters_[index].to_normalised (value) : value;
}

ParamValue PLUGIN_API Plugin::getParamNormalized (ParamID id)
{
    const size_t index = index_of (id);
    return index < parameters_.size() ? normalised_[index].load() : 0.0;
}

tresult PLUGIN_API Plugin::setParamNormalized (ParamID id, ParamValue value)
{
    if (index_of (id) == parameters_.size())
        return kInvalidArgument;
    write (id, value, false);
    return kResultOk;
}

tresult PLUGIN_API Plugin::setComponentHandler (IComponentHandler* handler)
{
    if (handler)
        handler->addRef();
    if (handler_)
        handler_->release();
    handler_ = handler;
    return kResultOk;
}

IPlugView* PLUGIN_API Plugin::createView (FIDString) { return nullptr; }

// IProcessContextRequirements, IMidiMapping ---------------------------------------------------------------

uint32 PLUGIN_API Plugin::getProcessContextRequirements()
{
    return kNeedTempo | kNeedTimeSignature | kNeedProjectTimeMusic | kNeedTransportState;
}

// Answering false for every controller matters: hosts that get no answer write controllers to parameter 0.
tresult PLUGIN_API Plugin::getMidiControllerAssignment (int32, int16, CtrlNumber controller, ParamID& id)
{
    return map_controller (controller, id) ? kResultTrue : kResultFalse;
}

} // namespace conformance
