// Python's view of LSTM networks.
#include <algorithm>
#include <cmath>

#include "bindings.hpp"
#include "lstm.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

LstmNetwork network(const Array<float> &scale, const Array<float> &input, const Array<float> &recurrent,
                    const Array<float> &bias, const Array<float> &head, const Array<float> &head_bias,
                    const Array<float> &spreads) {
    expect(recurrent.ndim() == 2 && recurrent.shape(0) == 4 * recurrent.shape(1), "recurrent weights are (4 h, h)");
    const int units = static_cast<int>(recurrent.shape(1));
    expect(scale.size() == CHANNELS, "there is a scale for each channel");
    expect(input.ndim() == 2 && input.shape(0) == recurrent.shape(0) && input.shape(1) == CHANNELS, "input weights are (4 h, 5)");
    expect(bias.size() == 4 * recurrent.shape(1), "biases are (4 h)");
    expect(head.ndim() == 2 && head.shape(0) == recurrent.shape(1) + LIVE && head.shape(1) == OUTPUTS,
           "the head is (h + 5, 4)");
    expect(head_bias.size() == OUTPUTS, "the head has 4 biases");
    expect(spreads.ndim() == 2 && spreads.shape(1) == HORIZONS, "spreads are (minutes, 2)");
    expect(finite(input) && finite(recurrent) && finite(bias) && finite(head) && finite(head_bias) && finite(spreads),
           "weights are finite");
    expect(finite(scale) && std::all_of(scale.data(), scale.data() + scale.size(), [](float each) { return each != 0; }),
           "scales are finite, and not 0");
    LstmNetwork result;
    const int hidden = (units + TOGETHER - 1) / TOGETHER * TOGETHER;
    const std::size_t gates = 4 * static_cast<std::size_t>(hidden);
    result.hidden = hidden;
    result.input.assign(CHANNELS * gates, 0.0f);
    result.recurrent.assign(hidden * gates, 0.0f);
    result.bias.assign(gates, 0.0f);
    result.head.assign(static_cast<std::size_t>(OUTPUTS) * hidden, 0.0f);
    for (int gate = 0; gate < 4; ++gate)
        for (int unit = 0; unit < units; ++unit) {
            const int row = gate * units + unit;
            const std::size_t column = static_cast<std::size_t>(gate) * hidden + unit;
            for (int channel = 0; channel < CHANNELS; ++channel)
                result.input[channel * gates + column] = input.data()[row * CHANNELS + channel] / scale.data()[channel];
            for (int other = 0; other < units; ++other)
                result.recurrent[other * gates + column] = recurrent.data()[row * units + other];
            result.bias[column] = bias.data()[row];
        }
    for (int output = 0; output < OUTPUTS; ++output) {
        for (int unit = 0; unit < units; ++unit)
            result.head[static_cast<std::size_t>(output) * hidden + unit] = head.data()[unit * OUTPUTS + output];
        for (int input = 0; input < LIVE; ++input)
            result.head_live[output][input] = head.data()[(units + input) * OUTPUTS + output];
        result.head_bias[output] = head_bias.data()[output];
    }
    result.spreads = copied(spreads);
    return result;
}

nb::object run(const Networks &networks, const Array<float> &steps, const Array<float> &live) {
    expect(steps.ndim() == 3 && steps.shape(2) == CHANNELS, "steps are (n, minutes, 5)");
    expect(live.ndim() == 3 && live.shape(0) == steps.shape(0) && live.shape(1) == steps.shape(1) &&
               live.shape(2) == LIVE,
           "live inputs are (n, minutes, 5)");
    expect(steps.shape(1) <= static_cast<std::size_t>(networks.longest()), "there are no more minutes than the networks have spreads for");
    Result<float> result({steps.shape(0), steps.shape(1), OUTPUTS});
    {
        const nb::gil_scoped_release released;
        for (std::size_t game = 0; game < steps.shape(0); ++game) {
            const std::size_t first = game * steps.shape(1);
            networks.run(steps.data() + first * CHANNELS, live.data() + first * LIVE, static_cast<int>(steps.shape(1)), 0,
                         result.data() + first * OUTPUTS);
        }
    }
    return result.array();
}

}  // namespace

void bind_networks(nb::module_ &module) {
    nb::class_<LstmNetwork>(module, "LstmNetwork")
        .def(nb::new_(&network), nb::kw_only(), nb::arg("scale"), nb::arg("input"), nb::arg("recurrent"),
             nb::arg("bias"), nb::arg("head"), nb::arg("head_bias"), nb::arg("spreads"));
    nb::class_<Networks>(module, "Networks")
        .def(nb::new_([](const std::vector<LstmNetwork> &networks) {
            expect(!networks.empty(), "there are networks");
            return Networks(networks);
        }))
        .def("run", &run);
}

}  // namespace dejavu
