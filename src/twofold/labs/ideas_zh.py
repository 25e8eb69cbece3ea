"""What the ideas that labs show are called in Chinese, and what the signs of their formulas stand for."""

from __future__ import annotations

from typing import NamedTuple


class InChinese(NamedTuple):
    """An idea in Chinese.

    Attributes:
        title: what it is, in a few words.
        where: what each sign of its formula stands for.
    """

    title: str
    where: str


_BOXES = "上下方向同理"

IDEAS_ZH = {
    "softmax": InChinese("由未归一化的输出得到概率", "z：未归一化的输出；p_k：第 k 类的概率；L：损失；g：∂L/∂p"),
    "cross-entropy": InChinese(
        "真实类别的概率取对数再取负；可带标签平滑和类别权重",
        "p：预测的概率，即 z 的 softmax；z：未归一化的输出；q：期望的概率；k、j：类别；K：类别数；w：类别的权重；"
        "ε：标签平滑；onehot：真实类别为 1，其余为 0；L：损失",
    ),
    "mlp": InChinese("多层感知机，以及逐层的反向传播", "x：输入；f_1、…、f_n：各层；y：输出"),
    "five-steps": InChinese(
        "数据、模型、损失、优化器、训练：手写线性回归",
        "f：模型；x、y：一个小批量及其标签；ŷ：预测；L：损失；w：权重；g：梯度；η：学习率",
    ),
    "cross-correlation": InChinese(
        "一个卷积核在一幅图像上滑动；从数据中学出卷积核",
        "x：图像；w：卷积核；y：输出；r、c：输出的行和列；i、j：权重的行和列",
    ),
    "conv2d": InChinese(
        "卷积：通道、步幅、各边的填充、空洞、分组",
        "W：卷积核，每个一行；X：窗口，每个一列；y：输出；L：损失；G：∂L/∂y；n：图像的边长；k：卷积核的边长；"
        "p：两边填充之和；s：步幅；d：空洞率；⌊ ⌋：向下取整",
    ),
    "conv2d-pieces": InChinese(
        "同样的卷积，分成放得进缓存的小块", "W：卷积核；X：排成列的窗口；L：损失；G：这几行输出的梯度"
    ),
    "conv1x1": InChinese(
        "1×1 卷积就是通道上的全连接层",
        "x：图像，每个像素是一列通道；W：权重，每个输出通道一行；b：偏置；y：输出；r、c：行和列",
    ),
    "receptive-field": InChinese(
        "一个输出看到图像的多大范围",
        "field：一个输出在一行中看到的像素数；jump：相邻两个输出相隔的像素数；k：卷积核的边长；d：空洞率；s：步幅",
    ),
    "max-pool2d": InChinese("每个窗口的最大值", "x：图像；y：输出；s：步幅；r、c：输出的行和列；i、j：窗口中的行和列"),
    "avg-pool2d": InChinese(
        "每个窗口的平均值", "x：图像；y：输出；k：窗口的边长；s：步幅；r、c：输出的行和列；i、j：窗口中的行和列"
    ),
    "adaptive-avg-pool2d": InChinese(
        "把图像分成若干部分取平均；全局平均池化",
        "x：图像；y：输出；A_h、A_w：对行和列取平均的矩阵；L：损失；g：∂L/∂y；ᵀ：行列互换",
    ),
    "lenet": InChinese(
        "第一个卷积网络，以及手写训练",
        "conv 5×5：卷积核为 5×5 的卷积；σ：sigmoid；pool：每 2×2 取最大值；dense：含这么多单元的全连接层",
    ),
    "batch-norm": InChinese(
        "批量归一化：用于全连接层和卷积层",
        "x：一个通道的值；μ、σ²：它们在小批量上的均值和方差；x̂：(x − μ)/√(σ² + ε)；γ、β：学出的缩放和偏移；"
        "ε：避免除以 0；y：结果；L：损失；g：∂L/∂y",
    ),
    "resnet": InChinese("残差块：由手写运算构成的 ResNet-18", "x：输入；F：两三个带批量归一化的卷积；y：输出"),
    "sgd": InChinese("梯度下降、随机梯度下降和小批量梯度下降", "x：权重；g：梯度；η：学习率"),
    "momentum": InChinese("动量：保留一部分速度的小球", "x：权重；g：梯度；v：速度；γ：保留的比例；η：学习率"),
    "nesterov": InChinese("向前看一步的动量", "x：权重；g：梯度；v：速度；γ：保留的比例；η：学习率"),
    "adagrad": InChinese("梯度一直大的方向，步子变小", "x：权重；g：梯度；s：梯度平方之和；η：学习率；ε：避免除以 0"),
    "rmsprop": InChinese(
        "近来梯度大的方向，步子变小",
        "x：权重；g：梯度；s：梯度平方的平均；γ：保留的比例；η：学习率；ε：避免除以 0",
    ),
    "adadelta": InChinese(
        "用过去的步长代替学习率",
        "x：权重；g：梯度；g′：步长；s、Δ：梯度平方和步长平方的平均；ρ：保留的比例；ε：使第一步得以开始",
    ),
    "adam": InChinese(
        "RMSProp 加动量，两者都修正从 0 开始的偏差",
        "x：权重；g：梯度；v、s：g 和 g² 的平均；β₁、β₂：保留的比例；v̂、ŝ：修正之后的 v 和 s；t：第几步，从 1 算起；"
        "η：学习率；ε：避免除以 0",
    ),
    "adamw": InChinese("Adam，权重衰减另外进行", "x：权重；η：学习率；λ：权重衰减"),
    "schedules": InChinese(
        "学习率怎样变化", "η：开始时的学习率；t：第几个周期或第几步；α、f：常数；T：每隔多少周期下降一次；⌊ ⌋：向下取整"
    ),
    "flip": InChinese("左右翻转图像", "x、y：之前和之后的图像；r、c：行和列；W：宽"),
    "resized-crop": InChinese(
        "随机裁出一部分，再缩放到同样大小",
        "x：裁出的部分；y：结果；A_h、A_w：给行和列加权的矩阵；r、j：结果的行、裁出部分的行；"
        "s：结果的一行相当于裁出部分的几行；∝：相差一个因子，使 A 的每行之和为 1",
    ),
    "brightness": InChinese("变亮或变暗", "x、y：之前和之后的图像；f：因子，在 1 附近随机取"),
    "contrast": InChinese(
        "离平均灰度更近或更远", "x、y：之前和之后的图像；f：因子，在 1 附近随机取；μ_grey：灰度图的平均值"
    ),
    "saturation": InChinese(
        "离灰色更近或更远", "x、y：之前和之后的图像；f：因子，在 1 附近随机取；R、G、B：像素的红、绿、蓝"
    ),
    "hue": InChinese(
        "转动色环；四种颜色变化按随机的次序进行",
        "H、S、V：像素的色相、饱和度和明度，在 0..1 之间；f：转动多少，在 0 附近随机取；"
        "k：(6 H − n) mod 6，红、绿、蓝的 n 为 1、3、5",
    ),
    "box-forms": InChinese("边界框的两种写法：两个角，或中心与宽高", f"x₁、x₂：左边和右边；c：中心；w：宽；{_BOXES}"),
    "anchors": InChinese(
        "每个位置上若干大小和形状的锚框",
        "s：大小，占图像边长的比例；r：宽与高之比；w、h：宽和高；n、m：大小和比例各有几种",
    ),
    "iou": InChinese(
        "两个框重叠多少（交并比）", "A、B：框；| |：面积；∩：两者都覆盖的部分；结果从 0（不相交）到 1（相同）"
    ),
    "match-anchors": InChinese(
        "哪个锚框负责哪个物体",
        "a：锚框；t：真实的框；IoU：交并比；argmax：使它最大的那个；τ：至少要有的交并比；−1：背景",
    ),
    "iou-crop": InChinese(
        "裁出与某个框重叠足够多的一部分；框随之移动",
        "IoU：交并比；τ：至少要有的交并比，随机取；x、x'：之前和之后的位置；s、w：裁出部分的左边和宽；W：图像的宽；"
        + _BOXES,
    ),
    "zoom-out": InChinese(
        "把图像缩小，放在平均颜色的画布上，用于小物体；框随之移动",
        f"x、x'：之前和之后的位置；s、w：缩小后图像的左边和宽；W：画布的宽；f：因子；{_BOXES}",
    ),
    "box-offsets": InChinese(
        "锚框怎样移动和伸缩才成为物体的框，以及反过来",
        f"t：偏移量；a、a_w：锚框的中心和宽；c、w：框的中心和宽；0.1、0.2：常数；{_BOXES}",
    ),
    "nms": InChinese("每个物体一个框：非极大值抑制", "argmax score：得分最高的框；IoU：交并比；τ：允许的最大交并比"),
    "nms-by-class": InChinese("每类的每个物体一个框：逐类抑制", "k：类别；nms：非极大值抑制"),
    "generalised-iou": InChinese(
        "两个框相距多远，不相交时也能说；以及由此得到的损失",
        "A、B：框；| |：面积；∩：两者都覆盖的部分；∪：至少一个覆盖的部分；C：第三个框；L：损失",
    ),
}
