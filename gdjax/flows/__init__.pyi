from .central_flow import CentralFlow as CentralFlow
from .central_flow import central_flow as central_flow
from .gradient_flow import Flow as Flow
from .gradient_flow import FlowDistance as FlowDistance
from .gradient_flow import FlowStatus as FlowStatus
from .gradient_flow import distance_from_flow as distance_from_flow
from .gradient_flow import gradient_flow as gradient_flow
