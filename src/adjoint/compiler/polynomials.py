"""The polynomials of the vector functions: made by `python -m tools.polynomials`.

A pair of numbers that stands for one constant is the constant rounded, and what that leaves.
"""

from __future__ import annotations


def numbers(text: str) -> tuple[float, ...]:
    """Hexadecimal numbers."""
    return tuple(map(float.fromhex, text.split()))


# ln2, in two parts.
LN2 = {
    "f32": numbers("0x1.62e4p-1 0x1.7f7d1cp-20"),
    "f64": numbers("0x1.62e42fefa2p-1 0x1.9ef35793c7673p-41"),
}

# inverse ln2, in two parts.
INVERSE_LN2 = {
    "f32": numbers("0x1.715476p+0 0x1.4ae0cp-26"),
    "f64": numbers("0x1.71547652b82fep+0 0x1.777d0ffda0d24p-56"),
}

# inverse ln10, in two parts.
INVERSE_LN10 = {
    "f32": numbers("0x1.bcb7b2p-2 -0x1.5b235ep-27"),
    "f64": numbers("0x1.bcb7b1526e50ep-2 0x1.95355baaafad3p-57"),
}

# log10 2, in two parts.
LOG10_2 = {
    "f32": numbers("0x1.344p-2 0x1.3509f8p-18"),
    "f64": numbers("0x1.34413509f6p-2 0x1.9fef311f12b36p-42"),
}

# two thirds, in two parts.
TWO_THIRDS = {
    "f32": numbers("0x1.555556p-1 -0x1.555556p-26"),
    "f64": numbers("0x1.5555555555555p-1 0x1.5555555555555p-55"),
}

# pi/2 in parts of 32 digits and a last one of 53.
HALF_PI = {
    "f64": numbers("0x1.921fb544p+0 0x1.0b4611a6p-34 0x1.3198a2ep-69 0x1.b839a252049c1p-104"),
}

# pi/2 in parts of 53, 33 and 53 digits.
HALF_PI_FUSED = {
    "f64": numbers("0x1.921fb54442d18p+0 0x1.1a626331p-54 0x1.1701b839a252p-88"),
}

# pi in a part of 32 digits and one of 53.
PI = {
    "f64": numbers("0x1.921fb544p+1 0x1.0b4611a626331p-33"),
}

# (e^r - 1 - r) / r^2, |r| <= ln(2)/2; error relative to e^r:
# f32 2^-33.2, f64 2^-63.8.
EXP = {
    "f32": numbers("0x1p-1 0x1.555554p-3 0x1.5554e6p-5 0x1.1112fcp-7 0x1.6d4f0ep-10 "
        "0x1.9e2478p-13"),
    "f64": numbers("0x1p-1 0x1.555555555555bp-3 0x1.5555555555539p-5 0x1.111111110edb6p-7 "
        "0x1.6c16c16c235e9p-10 0x1.a01a01b311a6bp-13 0x1.a01a0163fc8f2p-16 "
        "0x1.71ddf1052cdedp-19 0x1.27e5691c0938bp-22 0x1.af6a90f5b909fp-26 "
        "0x1.1e9c0fa0ab595p-29"),
}

# (e^-2s - 1 + 2s) / s^2, |s| <= ln(2)/4; error relative to e^-2s:
# f32 2^-28.3.
EXP_SHORT = {
    "f32": numbers("0x1.fffffcp+0 -0x1.555492p+0 0x1.5558bp-1 -0x1.12398ep-2 0x1.6a4d2ap-4"),
}

# (tanh(x) - x) / x^3 in z = x^2, |x| <= 7/8; error relative to tanh x:
# f32 2^-26.4.
TANH = {
    "f32": numbers("-0x1.555518p-2 0x1.1104aap-3 -0x1.b8696cp-5 0x1.585404p-6 -0x1.cae438p-8 "
        "0x1.674516p-10"),
}

# -2 / (1 + e), e = e^-2x < e^(-7/4); error relative to tanh x:
# f32 2^-30.1.
TANH_LONG = {
    "f32": numbers("-0x1.fffffcp+0 0x1.fffe26p+0 -0x1.ffb862p+0 0x1.fb029ap+0 -0x1.d20d32p+0 "
        "0x1.2343fcp+0"),
}

# ((1 - e^-2s) / 2 - s) / s^2, |s| <= ln(2)/64; error relative to s:
# f64 2^-59.7.
TANH_NEAR = {
    "f64": numbers("-0x1.0000000000003p+0 0x1.5555555555556p-1 -0x1.555555549ef64p-2 "
        "0x1.11111110cee31p-3 -0x1.6c182a8ea700dp-5 0x1.a01b2ee7d123ep-7"),
}

# (ln((1+s)/(1-s)) - 2s) / s^3 in z = s^2; error of s p, relative to the logarithm:
# f32 2^-35.2, f64 2^-59.5.
LOG = {
    "f32": numbers("0x1.555554p-1 0x1.999c22p-2 0x1.23d58ep-2 0x1.f0eb6p-3"),
    "f64": numbers("0x1.5555555555593p-1 0x1.999999997fb1p-2 0x1.249249420fdbp-2 "
        "0x1.c71c51f4261c1p-3 0x1.746642b6203ap-3 0x1.39a163310b481p-3 0x1.2f0882542ec28p-3"),
}

# ((ln((1+s)/(1-s)) - 2s) / s^3 - 2/3) / s^2 in z = s^2; error as above:
# f64 2^-73.5.
LOG_LONG = {
    "f64": numbers("0x1.9999999999996p-2 0x1.2492492492f4bp-2 0x1.c71c71c5979a3p-3 "
        "0x1.745d1828c38acp-3 0x1.3b1364f2c549fp-3 0x1.112068d1cc8a9p-3 0x1.de3e72f2d366ap-4 "
        "0x1.eabd6cabed3fdp-4"),
}

# (sin r - r) / r^3 in z = r^2, |r| <= pi/4; error relative to sin r:
# f32 2^-37.6, f64 2^-58.0.
SIN = {
    "f32": numbers("-0x1.5555554cb52abp-3 0x1.111108935a74ep-7 -0x1.a00f9b9533e02p-13 "
        "0x1.6cd7e78b42e8ap-19"),
    "f64": numbers("-0x1.5555555555549p-3 0x1.111111110f8a7p-7 -0x1.a01a019c16392p-13 "
        "0x1.71de357b2d5acp-19 -0x1.ae5e68a2cd38cp-26 0x1.5d93a28d08779p-33"),
}

# (sin r - r) / r^3 in z = r^2, |r| <= pi/2; error relative to sin r:
# f32 2^-27.3.
SIN_WIDE = {
    "f32": numbers("-0x1.55554bc1cbbbfp-3 0x1.110ed27118817p-7 -0x1.9f6fcd8fcfe5fp-13 "
        "0x1.5dbb3fce36e0ap-19"),
}

# (cos r - 1 + z/2) / z^2 in z = r^2, |r| <= pi/4; absolute error of cos r:
# f32 2^-33.3, f64 2^-64.2.
COS = {
    "f32": numbers("0x1.55554aad226d4p-5 -0x1.6c0c87e6ff8ep-10 0x1.9a0155d4dd8edp-16"),
    "f64": numbers("0x1.555555555554cp-5 -0x1.6c16c16c15222p-10 0x1.a01a019cbfcap-16 "
        "-0x1.27e4f81307301p-22 0x1.1ee9f188e5174p-29 -0x1.8fb14b9b11778p-37"),
}

# erf(x) / x - 1 in z - 7/8, z = x^2, |x| <= 9/8; error relative to x:
# f32 2^-30.6, f64 2^-57.7.
ERF_SMALL = {
    "f32": numbers("-0x1.9a0bbp-4 -0x1.f4eac6p-3 0x1.12198ep-4 -0x1.efdp-7 0x1.752e5p-9 "
        "-0x1.dea308p-12 0x1.0776b8p-14 -0x1.873adep-18 0x1.4ec552p-19"),
    "f64": numbers("-0x1.9a0bafec7a26ep-4 -0x1.f4eac5302d05dp-3 0x1.12198a34afc55p-4 "
        "-0x1.efd13dd1a9bfcp-7 0x1.7530755e0d4dfp-9 -0x1.dd9dff98b8d0ep-12 0x1.09046f373eb5p-14 "
        "-0x1.03381dec4c9b6p-17 0x1.c4f4e5342e6bap-21 -0x1.65610c7b0d92fp-24 "
        "0x1.00c77423b777fp-27 -0x1.5996b004f987ep-31 0x1.beaecd4c44e54p-35 "
        "0x1.a07e18d6a75fp-37 0x1.082b2f90e81cp-37"),
}

# (e^r - 1 - r) / r^2 for AVX-512, |r| <= ln(2)/2 (/32); error relative to e^r:
# f32 2^-28.3, f64 2^-56.2.
EXP_NEAR = {
    "f32": numbers("0x1.fffffcp-2 0x1.555492p-3 0x1.5558bp-5 0x1.12398ep-7 0x1.6a4d32p-10"),
    "f64": numbers("0x1.fffffffffffb8p-2 0x1.555555548e96fp-3 0x1.555555590c4fbp-5 "
        "0x1.11123b5bcc7eep-7 0x1.6c14ba02a44b9p-10"),
}

# e^(a^2) erfc(a) in t = (a-2)/(a+2), 9/8 <= a <= 6 (4); absolute error of erf a:
# f32 2^-33.5, f64 2^-63.3.
ERFC = {
    "f32": numbers("0x1.058672p-2 -0x1.b5703p-2 0x1.eeea14p-3 -0x1.4390dp-4 0x1.deeee6p-9 "
        "0x1.c8dcbap-8 -0x1.1a99a2p-12"),
    "f64": numbers("0x1.058671b52c776p-2 -0x1.b57034efd3f71p-2 0x1.eeea7dc8a78bp-3 "
        "-0x1.437f0b68c1a2dp-4 0x1.e9471595a4976p-9 0x1.ca95ed53faa38p-8 -0x1.bc25a0d15ce3bp-11 "
        "-0x1.016b54aa61d5ep-10 0x1.6d584a7cc7012p-15 0x1.6d9c386fcaef7p-13 "
        "0x1.cddcf09a4da23p-16 -0x1.c88e073114e2ep-16 -0x1.c05973ed11489p-17"),
}

# (1 + 2a) e^(a^2) erfc(a) - 5/4 in t = (a-3)/(a+3), 1/2 <= a <= 27.3 (10.1); relative error:
# f32 2^-32.0, f64 2^-62.1.
ERFC_LONG = {
    "f32": numbers("0x1.8a45bp-9 -0x1.15c084p-3 -0x1.85a15ep-5 0x1.09833ap-3 -0x1.e88b7cp-4 "
        "0x1.17d02cp-4 -0x1.856e9cp-6 0x1.4623d8p-9 0x1.e9c50ap-10 -0x1.536434p-11 "
        "-0x1.e3a4d6p-17 -0x1.47da42p-15 -0x1.09c6bcp-13"),
    "f64": numbers("0x1.8a45afc930e68p-9 -0x1.15c084bb9e8f3p-3 -0x1.85a15c58aa60bp-5 "
        "0x1.098366a5b46d1p-3 -0x1.e88b803a48a1fp-4 0x1.17ca2877f0b22p-4 -0x1.8574c40c0fb6fp-6 "
        "0x1.4b884e4522c6ap-9 0x1.ef1bdd833465ap-10 -0x1.98db514ca13a8p-11 "
        "-0x1.b91293fa29a4dp-14 0x1.065a3efff31a5p-13 0x1.4c2f26e10fe7bp-18 "
        "-0x1.513cadd67fbd5p-16 -0x1.896cbe63583c9p-21 0x1.d22f1a4264f96p-19 "
        "0x1.81b75ff293641p-22 -0x1.4c07f865b3b78p-21 -0x1.35b613ae1763fp-23 "
        "0x1.bf5a68e7305f8p-24 0x1.7378eb773be0ap-25 -0x1.01f16bff32fdbp-26 "
        "-0x1.27803a531eb91p-27 0x1.a69ff6d23d862p-30 0x1.85717393ef5p-31"),
}

# A centre a, tanh a less 5/64, and coefficients about a, by the leading digits
# of the argument. Below 5/64: of tanh(x) / x - 1.
TANH_ROWS = {
    "f32": (
        numbers("0x1.1ff226p+1 0x1.600afcp+1 0x1.a00e1ep+1 0x1.e0081cp+1 0x1.2004d2p+2 "
            "0x1.6005f2p+2 0x1.9ff062p+2 0x1.e00f9ep+2 0x1.11a938p+3 0x0p+0 0x0p+0 0x0p+0 "
            "0x0p+0 0x1.5ff334p-4 0x1.9ffde6p-4 0x1.e00434p-4 0x1.1ff20ep-3 0x1.6006ap-3 "
            "0x1.a009b8p-3 0x1.dff0bcp-3 0x1.1ff652p-2 0x1.600068p-2 0x1.a0044cp-2 "
            "0x1.dff4c6p-2 0x1.1ff3a2p-1 0x1.5ffc7cp-1 0x1.a004fp-1 0x1.dff95ap-1 0x1.2008dep+0 "
            "0x1.60064p+0 0x1.9fff1p+0 0x1.e00076p+0"),
        numbers("0x1.ccbd6ep-1 0x1.d3d5cp-1 0x1.d676dp-1 0x1.d76f2ap-1 0x1.d7dfacp-1 "
            "0x1.d7fbap-1 0x1.d7ff68p-1 0x1.d7ffecp-1 0x1.d7fffep-1 0x0p+0 0x0p+0 0x0p+0 0x0p+0 "
            "0x1.f161ep-8 0x1.7a4508p-6 0x1.3ba97p-5 0x1.f8409p-5 0x1.7932ecp-4 0x1.f4d0ep-4 "
            "0x1.3757e8p-3 0x1.91354cp-3 0x1.02c322p-2 0x1.3a8b8ap-2 0x1.6fa556p-2 0x1.b9fe9p-2 "
            "0x1.09559cp-1 0x1.2f8bb6p-1 0x1.4fd528p-1 0x1.7662d4p-1 0x1.9a7b78p-1 "
            "0x1.b1c6b6p-1 0x1.c078b4p-1"),
        numbers("0x1.645beep-5 0x1.097a76p-6 0x1.889912p-8 0x1.21831p-9 0x1.0299c6p-11 "
            "0x1.1800f8p-14 0x1.2ff436p-17 0x1.47d57ep-20 0x1.408c1ap-23 0x0p+0 0x0p+0 0x0p+0 "
            "0x0p+0 0x1.fc3d04p-1 0x1.fac14cp-1 0x1.f9083cp-1 0x1.f602cp-1 0x1.f12a74p-1 "
            "0x1.eb706ap-1 0x1.e4e15cp-1 0x1.d98daap-1 0x1.c7f704p-1 0x1.b3fdc6p-1 "
            "0x1.9e27a6p-1 0x1.7af43cp-1 0x1.49e972p-1 0x1.197c2ap-1 0x1.d83dd4p-2 "
            "0x1.613c34p-2 0x1.ce9364p-3 0x1.266032p-3 0x1.6fce64p-4"),
        numbers("-0x1.5c8316p-5 -0x1.074dbcp-6 -0x1.8764a2p-8 -0x1.212bbcp-9 -0x1.0236a4p-11 "
            "-0x1.17a47ep-14 -0x1.2ef986p-17 -0x1.b5797ap-20 -0x1.0b7382p-21 0x0p+0 0x0p+0 "
            "0x0p+0 0x0p+0 -0x1.5c81b4p-4 -0x1.9a51f6p-4 -0x1.d753eap-4 -0x1.187b5ep-3 "
            "-0x1.527fdep-3 -0x1.89ed4ap-3 -0x1.be609p-3 -0x1.038882p-2 -0x1.2dafd6p-2 "
            "-0x1.4ff91ep-2 -0x1.6a195ap-2 -0x1.8259eap-2 -0x1.897d72p-2 -0x1.79befep-2 "
            "-0x1.5aa5e8p-2 -0x1.1de46p-2 -0x1.96ffb2p-3 -0x1.106658p-3 -0x1.5ee77ap-4"),
        numbers("0x1.bc26cap-6 0x1.595992p-7 0x1.035c3cp-8 0x1.80b4b4p-10 0x1.581642p-12 "
            "0x1.74cb1ap-15 0x1.94ffd6p-18 0x1.b0672cp-21 0x1.79456ap-24 0x0p+0 0x0p+0 0x0p+0 "
            "-0x1.55551cp-2 -0x1.4a02c2p-2 -0x1.4800cp-2 -0x1.4483a6p-2 -0x1.3b5a5ap-2 "
            "-0x1.2ef45cp-2 -0x1.1fee74p-2 -0x1.10390cp-2 -0x1.e8effap-3 -0x1.982cdep-3 "
            "-0x1.4271e4p-3 -0x1.d71052p-4 -0x1.bd9646p-5 0x1.d7cb1ap-7 0x1.071aecp-4 "
            "0x1.842218p-4 0x1.c68fd2p-4 0x1.97d108p-4 0x1.33e11ap-4 0x1.a859f2p-5"),
        numbers("-0x1.961f48p-7 -0x1.5121d2p-8 -0x1.03078p-9 -0x1.8361dcp-11 -0x1.68669ep-13 "
            "-0x1.86e5ccp-16 -0x1.b17eecp-19 0x1.2eab9ap-20 0x1.17932p-20 0x0p+0 0x0p+0 0x0p+0 "
            "0x0p+0 0x1.c35552p-5 0x1.068d6ep-4 0x1.2f6f1ap-4 0x1.6b0dcp-4 0x1.afb2e2p-4 "
            "0x1.ee4178p-4 0x1.11d8a2p-3 0x1.32ec3p-3 0x1.4ffc1p-3 0x1.5c2504p-3 0x1.5844f4p-3 "
            "0x1.3a059ep-3 0x1.e950bap-4 0x1.47383ap-4 0x1.63315cp-5 0x1.de33dap-9 "
            "-0x1.5a030ap-6 -0x1.9bb454p-6 -0x1.559ffep-6"),
        numbers("0x1.04835ep-8 0x1.f65f5ep-10 0x1.9455cep-11 0x1.332968p-12 0x1.1f94c8p-14 "
            "0x1.389ee2p-17 0x1.501b02p-20 0x1.cf0b9ap-23 0x1.427fb4p-24 0x0p+0 0x0p+0 0x0p+0 "
            "0x1.102138p-3 -0x1.0edecp+4 0x1.c3d74ap+2 0x1.3f013p+4 0x1.e9874p-1 0x1.1be614p+0 "
            "-0x1.3ca51ap-1 0x1.2310cp+0 -0x1.01711ep-5 -0x1.19a48cp-5 0x1.d4c0bep-7 "
            "-0x1.ab0c52p-5 -0x1.59216ep-5 -0x1.100f36p-4 -0x1.d11d52p-5 -0x1.a4c8a2p-5 "
            "-0x1.068d26p-5 -0x1.39d806p-7 0x1.68064cp-10 0x1.2e9aa8p-8"),
    ),
}

# c, nearly 1 / m, and -log c (f64: in two parts), by the leading digits of m:
# from 1 to 3/2, then from 3/4 to 1.
LOG_ROWS = {
    "f32": (
        numbers("0x1p+0 0x1p+0 0x1.dc87d8p-1 0x1.cd6956p-1 0x1.c2e6d8p-1 0x1.b5254ap-1 "
            "0x1.aa0102p-1 0x1.9fce36p-1 0x1.937edcp-1 0x1.8a223p-1 0x1.82e412p-1 0x1.788a96p-1 "
            "0x1.6f0b8ap-1 0x1.6639aep-1 0x1.5f2c6p-1 0x1.5960d6p-1 0x1.50541cp+0 0x1.4d53b6p+0 "
            "0x1.446868p+0 0x1.3e23f8p+0 0x1.39973cp+0 0x1.338c8p+0 0x1.2b4c84p+0 0x1.2726c4p+0 "
            "0x1.21a79ep+0 0x1.1e1064p+0 0x1.1823cp+0 0x1.126834p+0 0x1.0e8d04p+0 0x1.0ac5f4p+0 "
            "0x1p+0 0x1p+0"),
        numbers("0x0p+0 0x0p+0 0x1.261p-4 0x1.aa2p-4 0x1.044p-3 0x1.43b4p-3 0x1.7894p-3 "
            "0x1.aa34p-3 0x1.e7cp-3 0x1.0beap-2 0x1.1ee8p-2 0x1.3aacp-2 0x1.54d4p-2 0x1.6dbcp-2 "
            "0x1.8218p-2 0x1.9322p-2 -0x1.1776p-2 -0x1.0e48p-2 -0x1.e504p-3 -0x1.bd1p-3 "
            "-0x1.9f9p-3 -0x1.77b8p-3 -0x1.4008p-3 -0x1.2374p-3 -0x1.f9e8p-4 -0x1.c6dp-4 "
            "-0x1.7118p-4 -0x1.1c68p-4 -0x1.c4ep-5 -0x1.51bp-5 0x0p+0 0x0p+0"),
    ),
    "f64": (
        numbers("0x1p+0 0x1.d8p-1 0x1.b8p-1 0x1.a8p-1 0x1.9p-1 0x1.8p-1 0x1.7p-1 0x1.6p-1 "
            "0x1.5p+0 0x1.4p+0 0x1.34p+0 0x1.28p+0 0x1.2p+0 0x1.14p+0 0x1.0cp+0 0x1p+0"),
        numbers("0x0p+0 0x1.4d3115d208p-4 0x1.365fcb015ap-3 0x1.823c16551ap-3 0x1.f991c6cb3cp-3 "
            "0x1.269621134ep-2 0x1.522ae0738ap-2 0x1.7fafa3bd81p-2 -0x1.1675cababap-2 "
            "-0x1.c8ff7c79aap-3 -0x1.7ab890210ep-3 -0x1.29552f82p-3 -0x1.e27076e2bp-4 "
            "-0x1.341d7961bcp-4 -0x1.77458f633p-5 0x0p+0"),
        numbers("0x0p+0 -0x1.53a2582f4e1efp-48 -0x1.fd3a0afb9691bp-44 0x1.e0ddb9a631e83p-46 "
            "-0x1.90d04cd7cc834p-44 -0x1.1b61f10522625p-44 0x1.ebe708164c759p-45 "
            "0x1.46fb79bf6d4cbp-44 -0x1.8380e731f55c4p-44 0x1.7794f689f8434p-45 "
            "0x1.bdb9072534a58p-45 0x1.5b967f4471dfcp-44 0x1.a342c2af0003cp-45 "
            "-0x1.1d0929983761p-44 0x1.181dce586af09p-44 0x0p+0"),
    ),
}

# log 2, in two parts, the second never negative.
LOG_OF_2 = {
    "f32": numbers("0x1.62e4p-1 0x1.7f7d1cp-20"),
    "f64": numbers("0x1.62e42fefa38p-1 0x1.ef35793c7673p-45"),
}

# (log(1 + r) - r / ln b) / r^2; error of r^2 p / r:
# f32 2^-28.4, f64 2^-61.8.
LOG_NEAR = {
    "f32": numbers("-0x1p-1 0x1.55583cp-2 -0x1.0013fap-2 0x1.826d74p-3"),
    "f64": numbers("-0x1.fffffffffffffp-2 0x1.555555555555bp-2 -0x1.000000000239fp-2 "
        "0x1.99999999a5937p-3 -0x1.55555527b580bp-3 0x1.2492472da1f1ap-3 -0x1.0000aed5d22cfp-3 "
        "0x1.c736a6d061b0ap-4 -0x1.98329c2f9cddp-4 0x1.44129ce5d14f3p-4"),
}

# c, nearly 1 / m, and -log2 c (f64: in two parts), by the leading digits of m:
# from 1 to 3/2, then from 3/4 to 1.
LOG2_ROWS = {
    "f32": (
        numbers("0x1p+0 0x1p+0 0x1.db5b6ep-1 0x1.cbfc38p-1 0x1.c2fb5p-1 0x1.b6a47p-1 "
            "0x1.a87aeap-1 0x1.a029aap-1 0x1.94c47cp-1 0x1.8cefe8p-1 0x1.801192p-1 "
            "0x1.7694b2p-1 0x1.6ecd74p-1 0x1.6a13b4p-1 0x1.608076p-1 0x1.5afaaep-1 "
            "0x1.51a73ep+0 0x1.498c8ep+0 0x1.446c7ep+0 0x1.3d0852p+0 0x1.366308p+0 "
            "0x1.319292p+0 0x1.2f47b2p+0 0x1.246a8ap+0 0x1.246a8ap+0 0x1.1b4a1ep+0 "
            "0x1.18deb6p+0 0x1.1252acp+0 0x1.0fcc7ep+0 0x1.087e58p+0 0x1p+0 0x1p+0"),
        numbers("0x0p+0 0x0p+0 0x1.b6dp-4 0x1.3c88p-3 0x1.76fp-3 0x1.c8e8p-3 0x1.14fp-2 "
            "0x1.322cp-2 0x1.5b3p-2 0x1.780cp-2 0x1.a8bcp-2 0x1.cdbp-2 0x1.ecbp-2 0x1.ffd8p-2 "
            "0x1.13b8p-1 0x1.1f62p-1 -0x1.98fcp-2 -0x1.7518p-2 -0x1.5dfp-2 -0x1.3be4p-2 "
            "-0x1.1c98p-2 -0x1.058p-2 -0x1.f4cp-3 -0x1.88f8p-3 -0x1.88f8p-3 -0x1.2b48p-3 "
            "-0x1.11fp-3 -0x1.988p-4 -0x1.61ep-4 -0x1.81cp-5 0x0p+0 0x0p+0"),
    ),
    "f64": (
        numbers("0x1p+0 0x1.d8p-1 0x1.b8p-1 0x1.a8p-1 0x1.9p-1 0x1.8p-1 0x1.7p-1 0x1.6p-1 "
            "0x1.5p+0 0x1.4p+0 0x1.34p+0 0x1.28p+0 0x1.2p+0 0x1.14p+0 0x1.0cp+0 0x1p+0"),
        numbers("0x0p+0 0x1.e0b1ae8f3p-4 0x1.bfc67a8p-3 0x1.169c05363fp-2 0x1.6cb0f6865dp-2 "
            "0x1.a8ff971811p-2 0x1.e7df5fe539p-2 0x1.14c560fe688p-1 -0x1.91bba891f1p-2 "
            "-0x1.49a784bcd2p-2 -0x1.11307dad31p-2 -0x1.acf5e2db4ep-3 -0x1.5c01a39fbep-3 "
            "-0x1.bc84240adcp-4 -0x1.0eb389fa28p-4 0x0p+0"),
        numbers("0x0p+0 -0x1.54cda62d3926ep-47 -0x1.667f21fa8423fp-44 0x1.5872350f805d6p-46 "
            "-0x1.c57f2495fb7fap-44 -0x1.6879fa00b120ap-44 -0x1.532c412ba94dbp-44 "
            "0x1.7c407050799bfp-44 -0x1.c22d2cad415aep-44 0x1.1d406db502403p-44 "
            "0x1.228d3da3e961bp-44 -0x1.927dfc23d978p-44 0x1.2f0c0bfe9dbecp-44 "
            "0x1.4459c4d3a591bp-44 -0x1.f9ab3cf74babap-44 0x0p+0"),
    ),
}

# log2 2, in two parts, the second never negative.
LOG2_OF_2 = {
    "f32": numbers("0x1p+0 0x0p+0"),
    "f64": numbers("0x1p+0 0x0p+0"),
}

# (log2(1 + r) - r / ln b) / r^2; error of r^2 p / r:
# f32 2^-28.3, f64 2^-61.7.
LOG2_NEAR = {
    "f32": numbers("-0x1.715476p-1 0x1.ec74c8p-2 -0x1.7173ccp-2 0x1.16e394p-2"),
    "f64": numbers("-0x1.71547652b82fep-1 0x1.ec709dc3a0412p-2 -0x1.71547652b9f9bp-2 "
        "0x1.2776c50eebba9p-2 -0x1.ec709d9022207p-3 0x1.a617611a6a695p-3 -0x1.71556175333acp-3 "
        "0x1.485b614821fdp-3 -0x1.2660de4cbeb28p-3 0x1.d377fc8a33d96p-4"),
}

# c, nearly 1 / m, and -log10 c (f64: in two parts), by the leading digits of m:
# from 1 to 3/2, then from 3/4 to 1.
LOG10_ROWS = {
    "f32": (
        numbers("0x1p+0 0x1p+0 0x1.d9e828p-1 0x1.cd124cp-1 0x1.c21154p-1 0x1.b5f474p-1 "
            "0x1.a9c1acp-1 0x1.9c5a22p-1 0x1.9698f4p-1 0x1.8ae95ep-1 0x1.8020c4p-1 "
            "0x1.7788b6p-1 0x1.6ed942p-1 0x1.6a506ep-1 0x1.60acb4p-1 0x1.5968a6p-1 0x1.51ad7p+0 "
            "0x1.481dd2p+0 0x1.42c9bep+0 0x1.3b4ceap+0 0x1.3a9908p+0 0x1.2fb2f6p+0 "
            "0x1.2dfb0ep+0 0x1.25b81ep+0 0x1.21930cp+0 0x1.1c896ap+0 0x1.16af3cp+0 "
            "0x1.12f328p+0 0x1.0f43e4p+0 0x1.09bf2p+0 0x1p+0 0x1p+0"),
        numbers("0x0p+0 0x0p+0 0x1.131p-5 0x1.74cp-5 0x1.cabp-5 0x1.15ep-4 0x1.482p-4 "
            "0x1.8108p-4 0x1.9a08p-4 0x1.cde8p-4 0x1.ff28p-4 0x1.13b4p-3 0x1.2884p-3 "
            "0x1.3394p-3 0x1.4b9p-3 0x1.5e14p-3 -0x1.ec98p-4 -0x1.b98p-4 -0x1.9c6p-4 "
            "-0x1.72ap-4 -0x1.6ea8p-4 -0x1.2ffp-4 -0x1.25d8p-4 -0x1.e9p-5 -0x1.b67p-5 "
            "-0x1.78p-5 -0x1.2e1p-5 -0x1.fc2p-6 -0x1.9c2p-6 -0x1.09ep-6 0x0p+0 0x0p+0"),
    ),
    "f64": (
        numbers("0x1p+0 0x1.d8p-1 0x1.b8p-1 0x1.a8p-1 0x1.9p-1 0x1.8p-1 0x1.7p-1 0x1.6p-1 "
            "0x1.5p+0 0x1.4p+0 0x1.34p+0 0x1.28p+0 0x1.2p+0 0x1.14p+0 0x1.0cp+0 0x1p+0"),
        numbers("0x0p+0 0x1.21681b5c9p-5 0x1.0d966cc65p-4 0x1.4f7aad9bbcp-4 0x1.b721cd1714p-4 "
            "0x1.ffbfc2bbc8p-4 0x1.25ba8215bp-3 0x1.4d43f8275ap-3 -0x1.e3bc1ab0ep-4 "
            "-0x1.8cf1838864p-4 -0x1.48f3ed1df4p-4 -0x1.02428c1f08p-4 -0x1.a30a9d60ap-5 "
            "-0x1.0ba01a817p-5 -0x1.45f4f5accp-6 0x0p+0"),
        numbers("0x0p+0 -0x1.ef65393de7321p-44 0x1.f3735158d42c3p-49 0x1.75da8a5871b9ap-45 "
            "0x1.7e295f660b9dap-44 -0x1.ff229f20ed3d2p-46 -0x1.007bf2d8bf07ap-44 "
            "0x1.20ca9a2bcc728p-45 -0x1.9fe3d562a53fp-44 -0x1.019365163f2fcp-45 "
            "-0x1.1f6bc109076dp-45 -0x1.5ea6bc2bc8c2cp-52 0x1.0163d7e67d282p-45 "
            "-0x1.5f1d45244f437p-60 0x1.d07e22587685bp-44 0x0p+0"),
    ),
}

# log10 2, in two parts, the second never negative.
LOG10_OF_2 = {
    "f32": numbers("0x1.344p-2 0x1.3509f8p-18"),
    "f64": numbers("0x1.34413509f7p-2 0x1.3fde623e2566bp-43"),
}

# (log10(1 + r) - r / ln b) / r^2; error of r^2 p / r:
# f32 2^-28.4, f64 2^-61.7.
LOG10_NEAR = {
    "f32": numbers("-0x1.bcb7b2p-3 0x1.287dp-3 -0x1.bcd4eap-4 0x1.4f5864p-4"),
    "f64": numbers("-0x1.bcb7b1526e50ep-3 0x1.287a7636f436cp-3 -0x1.bcb7b15270ae8p-4 "
        "0x1.63c62775142dcp-4 -0x1.287a7616b57d4p-4 0x1.fc3fa4240bb0ap-5 -0x1.bcb8d186ca36ap-5 "
        "0x1.8b61d5fb8a0cbp-5 -0x1.62758c619a7eep-5 0x1.19529d87cd228p-5"),
}

# 2^(i/16), in two parts.
EXP_ROWS = {
    "f64": (
        numbers("0x1p+0 0x1.0b5586cf9890fp+0 0x1.172b83c7d517bp+0 0x1.2387a6e756238p+0 "
            "0x1.306fe0a31b715p+0 0x1.3dea64c123422p+0 0x1.4bfdad5362a27p+0 "
            "0x1.5ab07dd485429p+0 0x1.6a09e667f3bcdp+0 0x1.7a11473eb0187p+0 "
            "0x1.8ace5422aa0dbp+0 0x1.9c49182a3f09p+0 0x1.ae89f995ad3adp+0 0x1.c199bdd85529cp+0 "
            "0x1.d5818dcfba487p+0 0x1.ea4afa2a490dap+0"),
        numbers("0x0p+0 0x1.8a62e4adc610bp-54 -0x1.19041b9d78a76p-55 0x1.9b07eb6c70573p-54 "
            "0x1.6f46ad23182e4p-55 0x1.ada0911f09ebcp-55 0x1.d4397afec42e2p-56 "
            "0x1.6324c054647adp-54 -0x1.bdd3413b26456p-54 -0x1.41577ee04992fp-55 "
            "0x1.6e9f156864b27p-54 0x1.c7c46b071f2bep-56 0x1.7a1cd345dcc81p-54 "
            "0x1.11065895048ddp-55 0x1.2ed02d75b3707p-55 -0x1.e9c23179c2893p-54"),
    ),
}

# 2^(i/16), and how much of half of it that leaves.
TANH_POWERS = {
    "f64": (
        numbers("0x1p+0 0x1.0b5586cf9890fp+0 0x1.172b83c7d517bp+0 0x1.2387a6e756238p+0 "
            "0x1.306fe0a31b715p+0 0x1.3dea64c123422p+0 0x1.4bfdad5362a27p+0 "
            "0x1.5ab07dd485429p+0 0x1.6a09e667f3bcdp+0 0x1.7a11473eb0187p+0 "
            "0x1.8ace5422aa0dbp+0 0x1.9c49182a3f09p+0 0x1.ae89f995ad3adp+0 0x1.c199bdd85529cp+0 "
            "0x1.d5818dcfba487p+0 0x1.ea4afa2a490dap+0"),
        numbers("0x0p+0 -0x1.79aa65d837b6dp-55 0x1.01b15eaa59348p-56 -0x1.68efde3a8a894p-55 "
            "-0x1.34d754db0abb6p-56 -0x1.59f48a72a4c6dp-56 -0x1.690cebb7aafbp-57 "
            "-0x1.063e1e21c5409p-55 0x1.3b3efbf5e2229p-55 0x1.b32dcb94da51dp-57 "
            "-0x1.db72fc1f0eab5p-56 -0x1.1affc2b91ce27p-57 -0x1.c1a7792cb3386p-56 "
            "-0x1.36eae30af0cb3p-57 -0x1.4a385a63d07a8p-57 0x1.ff7128fd391fp-56"),
    ),
}
