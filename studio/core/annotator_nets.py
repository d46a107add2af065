"""The nets of preprocessors, and where their usual weights lie."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from studio.core.base import Record, StrEnum


class Net(StrEnum):
    """Nets that read pictures. The catalogue's `layout` of an annotator is one of these."""

    HED = "hed"
    PIDINET = "pidinet"
    TEED = "teed"
    LINEART = "lineart"
    LINEART_COARSE = "lineart_coarse"
    LINEART_ANIME = "lineart_anime"
    DEPTH_ANYTHING = "depth_anything"
    DPT = "dpt"
    MIDAS = "midas"
    ZOE = "zoedepth"
    LERES = "leres"
    OPENPOSE_BODY = "openpose_body"
    OPENPOSE_HAND = "openpose_hand"
    OPENPOSE_FACE = "openpose_face"
    DWPOSE = "dwpose"
    YOLOX = "yolox"
    VITPOSE = "vitpose"
    DETECTOR = "detector"
    NORMAL_BAE = "normal_bae"
    SEGMENTATION = "segmentation"
    MLSD = "mlsd"


class HubWeights(Record):
    """Where the usual weights of a net lie on the Hugging Face Hub."""

    title: str
    repo: str
    file: str = Field("", description="one file; empty means a whole folder of transformers")
    size_bytes: int = Field(0, ge=0, description="of the download, about")


_ANNOTATORS = "lllyasviel/Annotators"

WEIGHTS: Mapping[Net, HubWeights] = {
    Net.HED: HubWeights(title="HED", repo=_ANNOTATORS, file="ControlNetHED.pth", size_bytes=29_444_406),
    Net.PIDINET: HubWeights(
        title="PiDiNet", repo=_ANNOTATORS, file="table5_pidinet.pth", size_bytes=2_871_148
    ),
    Net.TEED: HubWeights(title="TEED", repo="fal-ai/teed", file="5_model.pth", size_bytes=250_000),
    Net.LINEART: HubWeights(title="Line art", repo=_ANNOTATORS, file="sk_model.pth", size_bytes=17_173_511),
    Net.LINEART_COARSE: HubWeights(
        title="Line art, coarse", repo=_ANNOTATORS, file="sk_model2.pth", size_bytes=17_173_511
    ),
    Net.LINEART_ANIME: HubWeights(
        title="Line art, anime", repo=_ANNOTATORS, file="netG.pth", size_bytes=217_660_000
    ),
    Net.DEPTH_ANYTHING: HubWeights(
        title="Depth Anything V2 Small",
        repo="depth-anything/Depth-Anything-V2-Small-hf",
        size_bytes=99_200_000,
    ),
    Net.DPT: HubWeights(title="DPT Large", repo="Intel/dpt-large", size_bytes=1_370_000_000),
    Net.MIDAS: HubWeights(title="MiDaS 3 hybrid", repo="Intel/dpt-hybrid-midas", size_bytes=490_000_000),
    Net.ZOE: HubWeights(title="ZoeDepth NYU", repo="Intel/zoedepth-nyu", size_bytes=1_380_000_000),
    Net.LERES: HubWeights(title="LeReS", repo=_ANNOTATORS, file="res101.pth", size_bytes=530_700_000),
    Net.OPENPOSE_BODY: HubWeights(
        title="OpenPose body", repo=_ANNOTATORS, file="body_pose_model.pth", size_bytes=209_267_595
    ),
    Net.OPENPOSE_HAND: HubWeights(
        title="OpenPose hands", repo=_ANNOTATORS, file="hand_pose_model.pth", size_bytes=147_341_049
    ),
    Net.OPENPOSE_FACE: HubWeights(
        title="OpenPose face", repo=_ANNOTATORS, file="facenet.pth", size_bytes=153_700_000
    ),
    Net.DWPOSE: HubWeights(
        title="DWPose", repo="yzd-v/DWPose", file="dw-ll_ucoco_384.onnx", size_bytes=134_399_116
    ),
    Net.YOLOX: HubWeights(
        title="YOLOX (finds persons)", repo="yzd-v/DWPose", file="yolox_l.onnx", size_bytes=216_746_733
    ),
    Net.VITPOSE: HubWeights(
        title="ViTPose base", repo="usyd-community/vitpose-base-simple", size_bytes=344_000_000
    ),
    Net.DETECTOR: HubWeights(
        title="RT-DETR (finds persons)", repo="PekingU/rtdetr_r50vd_coco_o365", size_bytes=172_000_000
    ),
    Net.NORMAL_BAE: HubWeights(
        title="Normals (Bae)", repo=_ANNOTATORS, file="scannet.pt", size_bytes=291_000_000
    ),
    Net.SEGMENTATION: HubWeights(
        title="SegFormer B0, ADE20K",
        repo="nvidia/segformer-b0-finetuned-ade-512-512",
        size_bytes=15_000_000,
    ),
    Net.MLSD: HubWeights(
        title="M-LSD", repo=_ANNOTATORS, file="mlsd_large_512_fp32.pth", size_bytes=6_341_481
    ),
}
