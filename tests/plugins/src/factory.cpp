// The module's entry points and its list of classes. CONFORMANCE_EFFECT and CONFORMANCE_INSTRUMENT say which
// plugins the module holds.
#include "effect.hpp"
#include "instrument.hpp"

#include <cstring>

namespace conformance {
namespace {

constexpr const char* kVendor = "Reverie";
constexpr const char* kVersion = "1.0.0";

struct Entry
{
    Identity identity;
    Plugin* (*create)();
};

template <typename PluginType>
Entry entry()
{
    return { PluginType::identity(), [] () -> Plugin* { return new PluginType(); } };
}

void copy (char8* destination, size_t size, const char* text)
{
    std::strncpy (destination, text, size - 1);
    destination[size - 1] = 0;
}

class Factory final : public IPluginFactory2
{
public:
    tresult PLUGIN_API queryInterface (const TUID iid, void** object) override
    {
        QUERY_INTERFACE (iid, object, FUnknown::iid, IPluginFactory)
        QUERY_INTERFACE (iid, object, IPluginFactory::iid, IPluginFactory)
        QUERY_INTERFACE (iid, object, IPluginFactory2::iid, IPluginFactory2)
        *object = nullptr;
        return kNoInterface;
    }

    // The factory lives as long as the module, so nobody counts.
    uint32 PLUGIN_API addRef() override { return 1; }
    uint32 PLUGIN_API release() override { return 1; }

    tresult PLUGIN_API getFactoryInfo (PFactoryInfo* info) override
    {
        *info = PFactoryInfo (kVendor, "", "", PFactoryInfo::kUnicode);
        return kResultOk;
    }

    int32 PLUGIN_API countClasses() override { return static_cast<int32> (entries_.size()); }

    tresult PLUGIN_API getClassInfo (int32 index, PClassInfo* info) override
    {
        if (index < 0 || index >= countClasses())
            return kInvalidArgument;
        const Identity& identity = entries_[static_cast<size_t> (index)].identity;
        TUID class_id;
        identity.class_id.toTUID (class_id);
        *info = PClassInfo (class_id, PClassInfo::kManyInstances, kVstAudioEffectClass, identity.name);
        return kResultOk;
    }

    tresult PLUGIN_API getClassInfo2 (int32 index, PClassInfo2* info) override
    {
        if (index < 0 || index >= countClasses())
            return kInvalidArgument;
        const Identity& identity = entries_[static_cast<size_t> (index)].identity;
        *info = PClassInfo2 {};
        identity.class_id.toTUID (info->cid);
        info->cardinality = PClassInfo::kManyInstances;
        copy (info->category, sizeof info->category, kVstAudioEffectClass);
        copy (info->name, sizeof info->name, identity.name);
        copy (info->subCategories, sizeof info->subCategories, identity.category);
        copy (info->vendor, sizeof info->vendor, kVendor);
        copy (info->version, sizeof info->version, kVersion);
        copy (info->sdkVersion, sizeof info->sdkVersion, kVstVersionString);
        return kResultOk;
    }

    tresult PLUGIN_API createInstance (FIDString class_id, FIDString iid, void** object) override
    {
        for (const Entry& entry : entries_)
        {
            if (! FUnknownPrivate::iidEqual (class_id, entry.identity.class_id) || ! is_wanted_host())
                continue;
            Plugin* plugin = entry.create();
            const tresult result = plugin->queryInterface (iid, object);
            plugin->release();
            return result;
        }
        *object = nullptr;
        return kNoInterface;
    }

private:
    const std::vector<Entry> entries_ {
#ifdef CONFORMANCE_EFFECT
        entry<Effect>(),
#endif
#ifdef CONFORMANCE_INSTRUMENT
        entry<Instrument>(),
#endif
    };
};

} // namespace
} // namespace conformance

extern "C" {

__attribute__ ((visibility ("default"))) bool ModuleEntry (void*) { return true; }

__attribute__ ((visibility ("default"))) bool ModuleExit() { return true; }

__attribute__ ((visibility ("default"))) Steinberg::IPluginFactory* PLUGIN_API GetPluginFactory()
{
    static conformance::Factory factory;
    return &factory;
}
}
