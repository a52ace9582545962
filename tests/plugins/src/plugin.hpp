// A small VST3 plugin on the bare Steinberg interfaces: parameters, state, buses, latency, tail and
// sample-accurate parameter queues. A derived class says what the sound is; this one talks to the host.
#pragma once

#include "pluginterfaces/base/funknown.h"
#include "pluginterfaces/base/ibstream.h"
#include "pluginterfaces/base/ipluginbase.h"
#include "pluginterfaces/vst/ivstaudioprocessor.h"
#include "pluginterfaces/vst/ivstcomponent.h"
#include "pluginterfaces/vst/ivsteditcontroller.h"
#include "pluginterfaces/vst/ivstevents.h"
#include "pluginterfaces/vst/ivstmidicontrollers.h"
#include "pluginterfaces/vst/ivstparameterchanges.h"
#include "pluginterfaces/vst/ivstprocesscontext.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace conformance {

using namespace Steinberg;
using namespace Steinberg::Vst;

constexpr int kMaxChannels = 8;

// One parameter. Its normalised travel is linear, or logarithmic where is_logarithmic is set; steps counts
// the intervals of a stepped parameter (0: continuous) and choices names the positions of a list.
struct Parameter
{
    ParamID id;
    const char* title;
    const char* units;
    double minimum;
    double maximum;
    double default_value;
    int steps = 0;
    bool is_logarithmic = false;
    std::vector<const char*> choices = {};
    int32 extra_flags = 0;
    const char* lowest_text = nullptr; // what the lowest position shows instead of its number
    bool shows_ms = false;             // its plain values are samples, and its text is milliseconds at the present rate

    bool is_automatable() const { return (extra_flags & ParameterInfo::kIsReadOnly) == 0; }
    double to_plain (double normalised) const;
    double to_normalised (double plain) const;
    std::string to_text (double normalised, double sample_rate) const;
    bool from_text (const std::string& text, double& normalised) const;
};

// A run of samples during which no parameter changes and no event falls.
struct Block
{
    float** inputs;
    float** sidechain;
    float** outputs;
    int channels;
    int sidechain_channels;
    int samples;
};

// The lines of Contents/Resources/conformance.txt in the plugin's own bundle ("load crash", "channels 2"):
// how a copy of a bundle is told to misbehave before it has any parameter to be told by.
std::string bundle_setting (const std::string& key);

// Whether this process may make an instance: "host minihost" wants a library with this word in its path here.
bool is_wanted_host();

struct Identity
{
    FUID class_id;
    const char* name;
    const char* category;
    bool is_instrument;
    bool has_sidechain;
};

class Plugin : public IComponent,
               public IAudioProcessor,
               public IEditController,
               public IProcessContextRequirements,
               public IMidiMapping
{
public:
    Plugin (const Identity& identity, std::vector<Parameter> parameters);
    virtual ~Plugin() = default;

    // FUnknown
    tresult PLUGIN_API queryInterface (const TUID iid, void** object) override;
    uint32 PLUGIN_API addRef() override;
    uint32 PLUGIN_API release() override;

    // IPluginBase
    tresult PLUGIN_API initialize (FUnknown* context) override;
    tresult PLUGIN_API terminate() override;

    // IComponent
    tresult PLUGIN_API getControllerClassId (TUID class_id) override;
    tresult PLUGIN_API setIoMode (IoMode mode) override;
    int32 PLUGIN_API getBusCount (MediaType type, BusDirection direction) override;
    tresult PLUGIN_API getBusInfo (MediaType type, BusDirection direction, int32 index, BusInfo& bus) override;
    tresult PLUGIN_API getRoutingInfo (RoutingInfo& input, RoutingInfo& output) override;
    tresult PLUGIN_API activateBus (MediaType type, BusDirection direction, int32 index, TBool state) override;
    tresult PLUGIN_API setActive (TBool state) override;
    tresult PLUGIN_API setState (IBStream* stream) override;
    tresult PLUGIN_API getState (IBStream* stream) override;

    // IAudioProcessor
    tresult PLUGIN_API setBusArrangements (SpeakerArrangement* inputs, int32 n_inputs,
                                           SpeakerArrangement* outputs, int32 n_outputs) override;
    tresult PLUGIN_API getBusArrangement (BusDirection direction, int32 index,
                                          SpeakerArrangement& arrangement) override;
    tresult PLUGIN_API canProcessSampleSize (int32 size) override;
    uint32 PLUGIN_API getLatencySamples() override;
    tresult PLUGIN_API setupProcessing (ProcessSetup& setup) override;
    tresult PLUGIN_API setProcessing (TBool state) override;
    tresult PLUGIN_API process (ProcessData& data) override;
    uint32 PLUGIN_API getTailSamples() override;

    // IEditController
    tresult PLUGIN_API setComponentState (IBStream* stream) override;
    int32 PLUGIN_API getParameterCount() override;
    tresult PLUGIN_API getParameterInfo (int32 index, ParameterInfo& info) override;
    tresult PLUGIN_API getParamStringByValue (ParamID id, ParamValue value, String128 text) override;
    tresult PLUGIN_API getParamValueByString (ParamID id, TChar* text, ParamValue& value) override;
    ParamValue PLUGIN_API normalizedParamToPlain (ParamID id, ParamValue value) override;
    ParamValue PLUGIN_API plainParamToNormalized (ParamID id, ParamValue value) override;
    ParamValue PLUGIN_API getParamNormalized (ParamID id) override;
    tresult PLUGIN_API setParamNormalized (ParamID id, ParamValue value) override;
    tresult PLUGIN_API setComponentHandler (IComponentHandler* handler) override;
    IPlugView* PLUGIN_API createView (FIDString name) override;

    // IProcessContextRequirements
    uint32 PLUGIN_API getProcessContextRequirements() override;

    // IMidiMapping
    tresult PLUGIN_API getMidiControllerAssignment (int32 bus, int16 channel, CtrlNumber controller,
                                                    ParamID& id) override;

protected:
    // What a plugin implements.
    virtual void render (const Block& block) = 0;
    virtual void begin_block (ProcessData&) {}
    virtual void handle_event (const Event&) {}
    virtual void clear() {}
    virtual void value_written (ParamID, bool) {} // a host has written a parameter; true: while it processes
    virtual bool measure (ParamID&, double&) { return false; } // what a meter shows after a block
    virtual uint32 latency_samples() const { return 0; }
    virtual uint32 tail_samples() const { return kNoTail; }
    virtual bool writes_garbage_state() const { return false; }
    virtual bool map_controller (CtrlNumber, ParamID&) const { return false; }

    double value (ParamID id) const;
    void set_value (ParamID id, double plain);
    int choice (ParamID id) const { return static_cast<int> (value (id)); }
    double sample_rate() const { return sample_rate_; }

private:
    size_t index_of (ParamID id) const;
    void apply (ParamID id, double normalised);
    void write (ParamID id, double normalised, bool is_processing);
    void report_meter (ProcessData& data);
    void tell_host (int32 flags);
    void announce_latency();

    const Identity identity_;
    const std::vector<Parameter> parameters_;
    std::unique_ptr<std::atomic<double>[]> normalised_;
    std::atomic<int32> references_ { 1 };
    IComponentHandler* handler_ = nullptr;
    SpeakerArrangement main_arrangement_ = SpeakerArr::kStereo;
    SpeakerArrangement sidechain_arrangement_ = SpeakerArr::kStereo;
    int required_channels_ = 0;
    const int n_outputs_;     // main, and as many that carry it turned over
    const bool is_widener_;   // mono in, stereo out
    const bool has_state_;
    const bool notifies_;     // tells the host that a state has changed its parameters
    const bool clears_;       // forgets the sound when it is activated
    const bool is_talkative_; // prints to both streams
    bool is_cleared_ = false;
    double sample_rate_ = 44100.0;
    uint32 announced_latency_ = 0;
};

} // namespace conformance
